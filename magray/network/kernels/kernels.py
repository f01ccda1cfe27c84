"""CUDA kernels that are compiled by CuPy and work on PyTorch's tensors in its current stream, also in CUDA graphs."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from magray.cuda import compile_module

THREADS = 256  # in a block, for every kernel


class Compile(Protocol):
    """A compiler of the concatenated `sources`, with `definitions` as macros."""

    def __call__(self, sources: tuple[str, ...], definitions: dict[str, int]) -> "Kernels": ...


class Kernels:
    """The kernels of a compiled module, which allocate nothing and return at once.

    module: has CuPy's `get_function`. in_stream: a context in which kernels are launched in PyTorch's stream.
    """

    def __init__(self, module: Any, in_stream: Callable[[], AbstractContextManager[object]]) -> None:
        self.module, self.in_stream = module, in_stream
        self.functions: dict[str, Any] = {}

    def __call__(self, name: str, grid: tuple[int, ...], *arguments: torch.Tensor | int | float) -> None:
        """Launch a kernel. Tensors, which must be contiguous, become pointers; numbers take 32 bits."""
        if name not in self.functions:
            self.functions[name] = self.module.get_function(name)
        with self.in_stream():
            self.functions[name](grid, (THREADS,), tuple(_argument(argument) for argument in arguments))


def source(names: tuple[str, ...]) -> str:
    """Return the concatenated text of CUDA files in this folder."""
    return "".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in names)


def macros(definitions: dict[str, int]) -> dict[str, int]:
    """Return all macros for a source: `definitions`, and those that all sources share."""
    return {"THREADS": THREADS} | definitions


def compile_for(device: torch.device) -> Compile:
    """Return a compiler for a GPU; CuPy caches its results on disk. It raises UserError where CuPy cannot compile."""

    def make(sources: tuple[str, ...], definitions: dict[str, int]) -> Kernels:
        return _compiled(device, sources, tuple(definitions.items()))

    return make


@cache  # a process of a search trains one network after another
def _compiled(device: torch.device, sources: tuple[str, ...], definitions: tuple[tuple[str, int], ...]) -> Kernels:
    import cupy as cp

    with cp.cuda.Device(device.index):
        module = compile_module(source(sources), macros(dict(definitions)))
    return Kernels(module, partial(_in_stream, device))


@contextmanager
def _in_stream(device: torch.device) -> Iterator[None]:
    import cupy as cp

    stream = torch.cuda.current_stream(device).cuda_stream
    # CuPy 14 prefers Stream.from_external, which CuPy 13 does not have
    with cp.cuda.Device(device.index), cp.cuda.ExternalStream(stream):
        yield


def _argument(value: torch.Tensor | int | float) -> np.generic:
    """Return a kernel's argument for a tensor or a number."""
    if isinstance(value, torch.Tensor):
        if not (value.is_contiguous() or value.is_contiguous(memory_format=torch.channels_last)):
            raise ValueError(f"kernels need contiguous tensors, but this one has strides {value.stride()}")
        return np.uint64(value.data_ptr())
    return np.int32(value) if isinstance(value, int) else np.float32(value)
