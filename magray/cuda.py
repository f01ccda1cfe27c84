"""Compile CUDA source with CuPy, with one error message for machines that have no compiler."""

from collections.abc import Mapping
from typing import Any

from magray.errors import UserError

Macros = Mapping[str, int | float | str]


def compiler_options(macros: Macros) -> tuple[str, ...]:
    """Return the options that every CUDA source of magray is compiled with, and the values of its macros."""
    return ("-std=c++17", *(f"-D{name}={value}" for name, value in macros.items()))


def compile_module(source: str, macros: Macros) -> Any:
    """Return a `cupy.RawModule` of the kernels in `source`, compiled for the current device.

    CuPy keeps the result on disk for the next process. Raises UserError where it finds no compiler.
    """
    import cupy as cp

    module = cp.RawModule(code=source, options=compiler_options(macros))
    try:
        module.compile()
    except (ImportError, OSError, RuntimeError) as error:  # all that CuPy raises where NVRTC is missing or too old
        problem = str(error).strip().splitlines()[0]
        help_line = "install CuPy with its own compiler, for example cupy-cuda13x[ctk]"
        raise UserError(f"the CUDA kernels cannot be compiled: {problem}; {help_line}") from error
    return module
