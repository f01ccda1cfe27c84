"""The demagnetising field and the preconditioner of a batch, computed in Fourier space.

`_ShortTransforms` takes periodic films of 64 to 1024 = 2^n cells along x and along y; its kernels join the transforms
with what comes between and behind them. `_WholeTransforms` leaves all other films to cuFFT. A plan transforms a
number of slots that depends on the film's size only, so that a film's result does not depend on the others.
"""

import math
from typing import Any

import cupy as cp
import numpy as np
from cupy.cuda import cufft
from numpy.typing import NDArray

from magray.films.film import Film
from magray.micromagnetics.demag_tensor import padded_cells
from magray.micromagnetics.gpu.tensors import Tensors

CHUNK, CHUNK_CELLS = 8, 2**22  # slots of a plan, and the largest films that are so many in one; of larger ones 1
SHORT = (64, 128, 256, 512, 1024)  # cells
SHARED_OF_ROW, SHARED_OF_COLUMN = 106, 136  # bytes a cell that blocks of rows.cu and columns.cu need at most
POINTS = 16  # of a transform to a thread, as in fourier.cu
RUNNING = 1  # a slot's mode, as in film.cu


def _takes_short(film: Film) -> bool:
    """Return whether the film's transforms are _ShortTransforms."""
    if any(film.open_axes) or any(n not in SHORT for n in film.cells):
        return False
    largest = max(SHARED_OF_ROW * film.cells[0], SHARED_OF_COLUMN * film.cells[1])
    return bool(largest <= cp.cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"])


def sources(film: Film) -> tuple[str, ...]:
    """Return the source files of the transforms of such films, in order."""
    return ("fourier.cu", "columns.cu", "rows.cu") if _takes_short(film) else ("fourier.cu",)


def definitions(film: Film) -> dict[str, int]:
    """Return the macros that these are compiled with."""
    return {"NX": film.cells[0], "NY": film.cells[1]} if _takes_short(film) else {}


def transforms(module: cp.RawModule, film: Film, slots: int) -> Any:
    """Return the fastest transforms that take films of this shape."""
    return (_ShortTransforms if _takes_short(film) else _WholeTransforms)(module, film, slots)


def slots_of_a_plan(film: Film) -> int:
    """Return the number of slots in a plan; batches have multiples of it."""
    return CHUNK if film.cells[0] * film.cells[1] <= CHUNK_CELLS else 1


class _WholeTransforms:
    """Two-dimensional transforms by cuFFT, and a pass over the spectrum between them."""

    fused = False

    def __init__(self, module: cp.RawModule, film: Film, slots: int) -> None:
        self.nx, self.ny = film.cells
        self.module, self.slots, self.step = module, slots, min(slots, slots_of_a_plan(film))
        wide_x, wide_y = padded_cells(film.cells, film.open_axes)
        self.plans, self.wide = Plans((self.ny, self.nx), self.step), Plans((wide_y, wide_x), self.step)
        # of as many empty cells behind the film along an open axis as it has itself
        self.room = cp.zeros((self.step, 3, wide_y, wide_x), np.float32) if any(film.open_axes) else None
        self.memory = cp.zeros(slots * 3 * self.wide.waves, np.complex64)
        self.tensors = Tensors(module, film, slots, wide_x // 2 + 1)
        waves = np.arange(self.nx // 2 + 1) / self.nx, np.arange(self.ny) / self.ny
        self.symbols = [cp.asarray(symbol(turns)) for turns in waves]
        self.power_blocks = max(1, self.plans.waves // 1024)  # partial sums of f · P f in each slot
        self.powers = cp.zeros((slots, self.power_blocks))

    def demag(self, m: cp.ndarray, h: cp.ndarray, films: cp.ndarray, reports: cp.ndarray, mode: int) -> None:
        """Set h to the demagnetising field of m, Ms; both (slots, 3, ny, nx), of the slots in this mode."""
        spectrum = self._spectrum(self.wide)
        for chunk in self._chunks(len(m)):
            self.wide.forward(self._with_room(m[chunk]), spectrum[chunk])
        (high, wide), grid = self.wide.half, (max(1, self.wide.waves // 1024), len(m))
        arguments = (spectrum, self.tensors.table, films, reports, np.int32(mode), np.int32(high), np.int32(wide))
        self._kernel("demag")(grid, (256,), arguments)
        for chunk in self._chunks(len(m)):
            if self.room is None:
                self.wide.backward(spectrum[chunk], h[chunk])
            else:
                room = self.room[: len(h[chunk])]
                self.wide.backward(spectrum[chunk], room)
                h[chunk] = room[..., : self.ny, : self.nx]

    def precondition(self, f: cp.ndarray, w: cp.ndarray, films: cp.ndarray, reports: cp.ndarray) -> None:
        """Set w to P f of running slots, and `powers` to the partial sums of f · P f."""
        spectrum = self._spectrum(self.plans)
        for chunk in self._chunks(len(f)):
            self.plans.forward(f[chunk], spectrum[chunk])
        sizes = (np.int32(self.ny), np.int32(self.nx // 2 + 1), np.int32(self.nx))
        arguments = (spectrum, *self.symbols, films, reports, self.powers, *sizes)
        self._kernel("precondition")((self.power_blocks, len(f)), (256,), arguments)
        for chunk in self._chunks(len(f)):
            self.plans.backward(spectrum[chunk], w[chunk])

    def _kernel(self, name: str) -> Any:
        return self.module.get_function(name)

    def _spectrum(self, plans: "Plans") -> cp.ndarray:
        return self.memory[: self.slots * 3 * plans.waves].reshape(self.slots, -1)

    def _chunks(self, slots: int) -> list[slice]:
        """Return the slices of slots that the plan transforms one after another."""
        step = min(self.step, slots)
        return [slice(first, first + step) for first in range(0, slots, step)]

    def _with_room(self, m: cp.ndarray) -> cp.ndarray:
        if self.room is None:
            return m
        room = self.room[: len(m)]
        room.fill(0)
        room[..., : self.ny, : self.nx] = m
        return room


class _ShortTransforms:
    """Hand-written one-dimensional transforms: of the rows, of the columns there and back, and of the rows back."""

    fused = True  # force() is the kernel `force` and demag() in one

    def __init__(self, module: cp.RawModule, film: Film, slots: int) -> None:
        self.nx, self.ny = film.cells
        self.module = module
        self.sizes = self._sizes()
        stride = self.nx // 2 + 8  # waves, as in columns.cu
        self.spectrum = cp.zeros((slots, 3, self.ny, stride), np.complex64)
        self.tensors = Tensors(module, film, slots, stride)
        self.symbols = [
            cp.asarray(symbol(np.arange(stride) / self.nx)),
            cp.asarray(symbol(np.arange(self.ny) / self.ny)),
        ]
        self.row_roots = cp.asarray(
            np.concatenate([_roots(self.nx // 2), _unit_roots(np.arange(self.nx // 2) / self.nx)])
        )
        self.column_roots = cp.asarray(_roots(self.ny))
        self.power_blocks = 3 * self.sizes["tiles"]  # partial sums of f · P f in each slot
        self.powers = cp.zeros((slots, self.power_blocks))
        self._demag_columns, self._force_rows = self._kernel("demag_columns"), self._kernel("force_rows")
        self._demag_columns.max_dynamic_shared_size_bytes = 2 * self.sizes["tile_bytes"]
        self._force_rows.max_dynamic_shared_size_bytes = self.sizes["force_bytes"]

    def _sizes(self) -> dict[str, int]:
        """Return the sizes of the kernels' tiles, blocks and shared memory."""
        names = ("tiles", "tile_threads", "tile_bytes", "rows", "row_threads", "force_threads", "force_bytes")
        sizes = cp.zeros(len(names), np.int32)
        self._kernel("short_sizes")((1,), (1,), (sizes,))
        return dict(zip(names, sizes.tolist(), strict=True))

    def demag(self, m: cp.ndarray, h: cp.ndarray, films: cp.ndarray, reports: cp.ndarray, mode: int) -> None:
        """Set h to the demagnetising field of m, Ms; both (slots, 3, ny, nx), of the slots in this mode."""
        self._demag_spectrum(m, films, reports, mode)
        self._rows("rows_back", self.spectrum, h, reports, mode)

    def force(
        self, m: cp.ndarray, films: cp.ndarray, reports: cp.ndarray, arguments: tuple[Any, ...], blocks: int
    ) -> None:
        """Launch `force` on running slots with its arguments and blocks; h need not hold the demagnetising field."""
        self._demag_spectrum(m, films, reports, RUNNING)
        grid, threads = (blocks, len(m)), (self.sizes["force_threads"],)
        arguments = (self.spectrum, self.row_roots, *arguments)
        self._force_rows(grid, threads, arguments, shared_mem=self.sizes["force_bytes"])

    def precondition(self, f: cp.ndarray, w: cp.ndarray, films: cp.ndarray, reports: cp.ndarray) -> None:
        """Set w to P f of running slots, and `powers` to the partial sums of f · P f."""
        self._rows("rows_forward", f, self.spectrum, reports, RUNNING)
        arguments = (self.spectrum, *self.symbols, self.column_roots, films, reports, self.powers)
        grid, threads = (self.power_blocks, len(f)), (self.sizes["tile_threads"],)
        self._kernel("precondition_columns")(grid, threads, arguments, shared_mem=self.sizes["tile_bytes"])
        self._rows("rows_back", self.spectrum, w, reports, RUNNING)

    def _demag_spectrum(self, m: cp.ndarray, films: cp.ndarray, reports: cp.ndarray, mode: int) -> None:
        self._rows("rows_forward", m, self.spectrum, reports, mode)
        arguments = (self.spectrum, self.tensors.table, self.column_roots, films, reports, np.int32(mode))
        pairs = self.sizes["tiles"] + math.ceil(self.sizes["tiles"] / 2)  # of mx and my; of mz
        grid, threads = (pairs, len(m)), (self.sizes["tile_threads"],)
        self._demag_columns(grid, threads, arguments, shared_mem=2 * self.sizes["tile_bytes"])

    def _rows(self, name: str, source: cp.ndarray, target: cp.ndarray, reports: cp.ndarray, mode: int) -> None:
        slots = min(len(source), len(target))
        grid, threads = (3 * self.ny // self.sizes["rows"], slots), (self.sizes["row_threads"],)
        self._kernel(name)(grid, threads, (source, target, self.row_roots, reports, np.int32(mode)))

    def _kernel(self, name: str) -> Any:
        return self.module.get_function(name)


class Plans:
    """Plans of cuFFT for the vectors of 1 or of `slots` slots (slots, 3, y, x) and back, without normalisation."""

    def __init__(self, shape: tuple[int, int], slots: int) -> None:
        self.waves = shape[0] * (shape[1] // 2 + 1)
        self.half = (shape[0], shape[1] // 2 + 1)
        sides = (shape, 1, shape[0] * shape[1]), (self.half, 1, self.waves)
        last = ("C", 1, shape[1])
        self.both = {
            count: (
                cufft.PlanNd(shape, *sides[0], *sides[1], cufft.CUFFT_R2C, 3 * count, *last),
                cufft.PlanNd(shape, *sides[1], *sides[0], cufft.CUFFT_C2R, 3 * count, *last),
            )
            for count in {1, slots}
        }

    def forward(self, vectors: cp.ndarray, spectrum: cp.ndarray) -> None:
        self.both[len(vectors)][0].fft(vectors, spectrum, cufft.CUFFT_FORWARD)

    def backward(self, spectrum: cp.ndarray, vectors: cp.ndarray) -> None:
        self.both[len(vectors)][1].fft(spectrum, vectors, cufft.CUFFT_INVERSE)


def symbol(turns: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return 2 − 2 cos k of waves that turn `turns` times from cell to cell."""
    return np.asarray(2 - 2 * np.cos(2 * np.pi * turns), np.float32)


def _unit_roots(turns: NDArray[np.float64]) -> NDArray[np.complex64]:
    """Return exp(−2πi turns)."""
    return np.asarray(np.exp(-2j * np.pi * turns), np.complex64)


def _roots(n: int) -> NDArray[np.complex64]:
    """Return the roots of unity of a transform, in the order of fourier.cu."""
    return _unit_roots(np.outer(np.arange(POINTS), np.arange(n // POINTS)) / n).ravel()
