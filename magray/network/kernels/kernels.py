"""CUDA kernels, compiled by CuPy, that work on PyTorch's tensors in PyTorch's stream; CUDA graphs record them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from magray.cuda import compile_module

THREADS = 256  # of a block, in every kernel


class Compile(Protocol):
    """Makes the kernels of `sources`, one after another, with macros of these values."""

    def __call__(self, sources: tuple[str, ...], definitions: dict[str, int]) -> "Kernels": ...


class Kernels:
    """A module's kernels, by name. They allocate nothing and return at once.

    module: whose `get_function` finds kernels, as CuPy calls them. in_stream: where PyTorch's work is queued.
    """

    def __init__(self, module: Any, in_stream: Callable[[], AbstractContextManager[object]]) -> None:
        self.module, self.in_stream = module, in_stream
        self.found: dict[str, Any] = {}

    def __call__(self, name: str, grid: tuple[int, ...], *arguments: torch.Tensor | int | float) -> None:
        """Start a kernel. Tensors, without gaps and in the order of their memory, become pointers; numbers 32 bits."""
        if name not in self.found:
            self.found[name] = self.module.get_function(name)
        with self.in_stream():
            self.found[name](grid, (THREADS,), tuple(_argument(argument) for argument in arguments))


def source(names: tuple[str, ...]) -> str:
    """The text of some of this folder's CUDA files."""
    return "".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in names)


def macros(definitions: dict[str, int]) -> dict[str, int]:
    """Return the macros that a source is compiled with: `definitions`, and those that all sources share."""
    return {"THREADS": THREADS} | definitions


def compile_for(device: torch.device) -> Compile:
    """Compiles for a GPU; CuPy keeps the results on disk.

    What it returns raises UserError where CuPy has no compiler.
    """

    def make(sources: tuple[str, ...], definitions: dict[str, int]) -> Kernels:
        return _compiled(device, sources, tuple(definitions.items()))

    return make


@cache  # a search has one network after the other in a process
def _compiled(device: torch.device, sources: tuple[str, ...], definitions: tuple[tuple[str, int], ...]) -> Kernels:
    import cupy as cp

    with cp.cuda.Device(device.index):
        module = compile_module(source(sources), macros(dict(definitions)))
    return Kernels(module, partial(_in_stream, device))


@contextmanager
def _in_stream(device: torch.device) -> Iterator[None]:
    import cupy as cp

    stream = torch.cuda.current_stream(device).cuda_stream
    # CuPy 14 prefers Stream.from_external, which CuPy 13 has not
    with cp.cuda.Device(device.index), cp.cuda.ExternalStream(stream):
        yield


def _argument(value: torch.Tensor | int | float) -> np.generic:
    if isinstance(value, torch.Tensor):
        if not (value.is_contiguous() or value.is_contiguous(memory_format=torch.channels_last)):
            raise ValueError(f"kernels know no strides, but this tensor has them: {value.stride()}")
        return np.uint64(value.data_ptr())
    return np.int32(value) if isinstance(value, int) else np.float32(value)
