"""The demagnetising field and the preconditioner of a batch, by way of Fourier space.

`ColumnTransforms` leaves the rows to cuFFT and does everything along y in one kernel; it takes films whose columns have
64 to 1024 = 2^n cells. `WholeTransforms` takes all others. A plan always transforms CHUNK slots, and every slot by
itself, so that a film is treated alike in any company.
"""

from typing import Any

import cupy as cp
import numpy as np
from cupy.cuda import cufft

from magray.micromagnetics.demag_tensor import fourier_tensor

CHUNK = 8  # slots
COLUMN_CELLS = (64, 128, 256, 512, 1024)
ALIGNED = 8  # waves: rows of the spectrum begin at multiples of 64 bytes
POINTS = 8  # of a column to a thread, as in fourier.cu


def transforms(module: cp.RawModule, cells: tuple[int, int], cell_size: tuple[float, float, float], slots: int) -> Any:
    """The faster of the two ways that takes films of these cells."""
    kind = ColumnTransforms if cells[1] in COLUMN_CELLS else WholeTransforms
    return kind(module, cells, cell_size, slots)


class WholeTransforms:
    """Two-dimensional transforms by cuFFT, and a pass over the spectrum between them."""

    def __init__(
        self, module: cp.RawModule, cells: tuple[int, int], cell_size: tuple[float, float, float], slots: int
    ) -> None:
        self.nx, self.ny = cells
        self.slots, self.stride = slots, self._stride()
        self.module = module
        self.spectrum = cp.zeros((slots, 3, self.ny, self.stride), np.complex64)
        tensor = np.zeros((4, self.ny, self.stride), np.float32)
        tensor[..., : self.nx // 2 + 1] = fourier_tensor(cells, cell_size) / (self.nx * self.ny)
        self.tensor = cp.asarray(tensor)
        self.symbols = [
            cp.asarray(2 - 2 * np.cos(2 * np.pi * np.arange(n) / size), np.float32) for n, size in self._waves()
        ]
        self.plans = {count: self._plans(3 * count) for count in {1, min(CHUNK, slots)}}
        self.powers = cp.zeros((slots, self.power_blocks))

    def _stride(self) -> int:
        return self.nx // 2 + 1

    def _waves(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return (self.stride, self.nx), (self.ny, self.ny)

    def _plans(self, batch: int) -> tuple[cufft.PlanNd, cufft.PlanNd]:
        return _plans((self.ny, self.nx), (self.ny, self.nx), (self.ny, self.stride), batch)

    @property
    def power_blocks(self) -> int:
        """Partial sums of f · P f in each slot."""
        return max(1, self.ny * self.stride // 1024)

    def demag(self, m: cp.ndarray, h: cp.ndarray, reports: cp.ndarray) -> None:
        """h: the demagnetising field of m, Ms; both (slots, 3, ny, nx), of running slots."""
        self._forward(m)
        waves = np.int32(self.ny * self.stride)
        grid = (self.power_blocks, len(m))
        self.module.get_function("demag")(grid, (256,), (self.spectrum, self.tensor, reports, waves))
        self._backward(h)

    def precondition(self, f: cp.ndarray, w: cp.ndarray, films: cp.ndarray, reports: cp.ndarray) -> None:
        """w: P f of running slots; and the parts of f · P f in `powers`."""
        self._forward(f)
        sizes = (np.int32(self.ny), np.int32(self.stride), np.int32(self.nx))
        arguments = (self.spectrum, *self.symbols, films, reports, self.powers, *sizes)
        self.module.get_function("precondition")((self.power_blocks, len(f)), (256,), arguments)
        self._backward(w)

    def _forward(self, vectors: cp.ndarray) -> None:
        for plans, chunk in self._chunks(len(vectors)):
            plans[0].fft(vectors[chunk], self.spectrum[chunk], cufft.CUFFT_FORWARD)

    def _backward(self, vectors: cp.ndarray) -> None:
        for plans, chunk in self._chunks(len(vectors)):
            plans[1].fft(self.spectrum[chunk], vectors[chunk], cufft.CUFFT_INVERSE)

    def _chunks(self, slots: int) -> list[tuple[Any, slice]]:
        step = min(CHUNK, slots)
        return [(self.plans[step], slice(first, first + step)) for first in range(0, slots, step)]


class ColumnTransforms(WholeTransforms):
    """One-dimensional transforms of the rows by cuFFT; the columns there and back in one kernel."""

    def __init__(
        self, module: cp.RawModule, cells: tuple[int, int], cell_size: tuple[float, float, float], slots: int
    ) -> None:
        super().__init__(module, cells, cell_size, slots)
        self.roots = cp.asarray(np.exp(-2j * np.pi * np.arange(self.ny) / self.ny), np.complex64)
        self._demag = module.get_function(f"demag_columns_{self.ny}")
        self._precondition = module.get_function(f"precondition_columns_{self.ny}")
        numbers = self.columns * (self.ny + self.ny // 8)
        self._shared = {1: 8 * (numbers + self.ny), 2: 8 * (2 * numbers + self.ny)}  # bytes of one tile, of two
        self._demag.max_dynamic_shared_size_bytes = self._shared[2]

    def _stride(self) -> int:
        return -(-(self.nx // 2 + 1) // ALIGNED) * ALIGNED

    def _plans(self, batch: int) -> tuple[cufft.PlanNd, cufft.PlanNd]:
        return _plans((self.nx,), (self.nx,), (self.stride,), batch * self.ny)

    @property
    def columns(self) -> int:
        """Of a tile, as in fourier.cu."""
        return 8 if self.ny <= 256 else 2048 // self.ny

    @property
    def power_blocks(self) -> int:
        return 3 * (self.stride // self.columns)

    def demag(self, m: cp.ndarray, h: cp.ndarray, reports: cp.ndarray) -> None:
        self._forward(m)
        grid, threads = (self.stride // self.columns, len(m), 2), 2 * self.columns * self.ny // POINTS
        arguments = (self.spectrum, self.tensor, self.roots, reports, np.int32(self.stride))
        self._demag(grid, (threads,), arguments, shared_mem=self._shared[2])
        self._backward(h)

    def precondition(self, f: cp.ndarray, w: cp.ndarray, films: cp.ndarray, reports: cp.ndarray) -> None:
        self._forward(f)
        grid, threads = (self.stride // self.columns, len(f), 3), self.columns * self.ny // POINTS
        sizes = (np.int32(self.stride), np.int32(self.nx))
        arguments = (self.spectrum, *self.symbols, self.roots, films, reports, self.powers, *sizes)
        self._precondition(grid, (threads,), arguments, shared_mem=self._shared[1])
        self._backward(w)


def _plans(
    shape: tuple[int, ...], real: tuple[int, ...], waves: tuple[int, ...], batch: int
) -> tuple[cufft.PlanNd, cufft.PlanNd]:
    """Plans there and back; `real` and `waves`: the shapes in memory of one transform's two sides."""
    distances = int(np.prod(real)), int(np.prod(waves))
    last = (len(shape) - 1, shape[-1])
    forward = cufft.PlanNd(shape, real, 1, distances[0], waves, 1, distances[1], cufft.CUFFT_R2C, batch, "C", *last)
    inverse = cufft.PlanNd(shape, waves, 1, distances[1], real, 1, distances[0], cufft.CUFFT_C2R, batch, "C", *last)
    return forward, inverse
