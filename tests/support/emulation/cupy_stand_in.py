"""A stand-in for the parts of CuPy that the backend uses, from NumPy and the emulator: a `Batch` runs on a CPU.

A captured graph has the kernels and the transforms in it, but no assignments of arrays: none of open films.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from tests.support.emulation.emulator import Kernel, Kernels

FORWARD, INVERSE = -1, 1
DYNAMIC_SHARED = 232448  # bytes that a block may have on an H200


class Array(np.ndarray[Any, Any]):
    def get(self) -> np.ndarray[Any, Any]:
        return np.array(self)

    def set(self, values: np.ndarray[Any, Any], _stream: object) -> None:
        self[...] = values


class Recorder:
    """A recorder of the calls of a capture; outside of one, it makes them."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] | None = None

    def __call__(self, call: Callable[[], None]) -> None:
        if self.calls is None:
            call()
        else:
            self.calls.append(call)


class Graph:
    def __init__(self, calls: Sequence[Callable[[], None]]) -> None:
        self.calls = calls

    def launch(self, _stream: object) -> None:
        for call in self.calls:
            call()


class Stream:
    """A stream that executes everything at once."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def record(self) -> None:
        pass

    def wait_event(self, _event: None) -> None:
        pass

    def begin_capture(self) -> None:
        self.recorder.calls = []

    def end_capture(self) -> Graph:
        graph, self.recorder.calls = Graph(self.recorder.calls or []), None
        return graph


class RecordedKernel:
    def __init__(self, kernel: Kernel, recorder: Recorder) -> None:
        self.kernel, self.recorder = kernel, recorder

    def __call__(self, *arguments: Any, **options: Any) -> None:
        self.recorder(partial(self.kernel, *arguments, **options))

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self.kernel.max_dynamic_shared_size_bytes

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        self.kernel.max_dynamic_shared_size_bytes = size


class RawModule:
    def __init__(self, folder: Path, recorder: Recorder, code: str, options: Sequence[str] = ()) -> None:
        self.kernels, self.recorder = Kernels(code, options, folder), recorder

    def compile(self) -> None:
        pass

    def get_function(self, name: str) -> RecordedKernel:
        return RecordedKernel(self.kernels.get_function(name), self.recorder)


class PlanNd:
    """A plan of whole transforms, without normalisation."""

    def __init__(self, recorder: Recorder, shape: tuple[int, ...], *_: object) -> None:
        self.recorder, self.shape = recorder, shape

    def fft(self, source: np.ndarray[Any, Any], target: np.ndarray[Any, Any], direction: int) -> None:
        self.recorder(partial(self._transform, source, target, direction))

    def _transform(self, source: np.ndarray[Any, Any], target: np.ndarray[Any, Any], direction: int) -> None:
        axes, half = (-2, -1), (*self.shape[:-1], self.shape[-1] // 2 + 1)
        made: np.ndarray[Any, Any]
        if direction == FORWARD:
            made = np.fft.rfftn(source.reshape(-1, *self.shape), axes=axes)
        else:
            made = np.fft.irfftn(source.reshape(-1, *half), s=self.shape, axes=axes) * np.prod(self.shape)
        target[...] = made.reshape(target.shape)


@contextmanager
def cupy_on_cpu(folder: Path) -> Iterator[None]:
    """Replace `cupy`, and the backend's modules that import it, by stand-ins; kernels are built in `folder`."""

    def is_replaced(name: str) -> bool:
        return name.split(".")[0] == "cupy" or name.startswith("magray.micromagnetics.gpu.")

    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if is_replaced(name)}
    sys.modules.update(_modules(folder))
    try:
        yield
    finally:
        for name in list(sys.modules):
            if is_replaced(name):
                del sys.modules[name]
        sys.modules.update(kept)


def _modules(folder: Path) -> dict[str, ModuleType]:
    recorder = Recorder()
    cufft = ModuleType("cupy.cuda.cufft")
    kinds = {"CUFFT_R2C": 0, "CUFFT_C2R": 1, "CUFFT_FORWARD": FORWARD, "CUFFT_INVERSE": INVERSE}
    cufft.__dict__.update(kinds, PlanNd=partial(PlanNd, recorder))
    cuda = ModuleType("cupy.cuda")
    device = SimpleNamespace(attributes={"MaxSharedMemoryPerBlockOptin": DYNAMIC_SHARED})
    cuda.__dict__.update(cufft=cufft, Stream=lambda **_: Stream(recorder), Device=lambda: device, Event=object)
    cupy = ModuleType("cupy")
    cupy.__dict__.update(cuda=cuda, ndarray=np.ndarray, RawModule=partial(RawModule, folder, recorder))
    for name in ("zeros", "zeros_like", "ones", "empty", "asarray"):
        cupy.__dict__[name] = _of_arrays(getattr(np, name))
    return {"cupy": cupy, "cupy.cuda": cuda, "cupy.cuda.cufft": cufft}


def _of_arrays(make: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: np.ascontiguousarray(make(*arguments)).view(Array)
