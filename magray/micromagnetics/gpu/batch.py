"""A batch of film slots on one GPU: the arrays, and one iteration of the minimiser over all of them.

One iteration is a step, an evaluation of the field at the new point, and a decision; every slot makes its own. The
iterations are captured in a CUDA graph, so that the host does nothing between two looks at the slots' reports.
"""

import math
from pathlib import Path
from typing import Any

import cupy as cp
import numpy as np
from cupy.cuda import cufft
from numpy.typing import NDArray

from magray.films.film import Film
from magray.films.protocol import Minimize
from magray.micromagnetics.demag_tensor import fourier_tensor
from magray.micromagnetics.landscape import Coefficients, stiffness

FILM = np.dtype(
    [
        ("sigma", np.float64),
        *((name, np.float32) for name in ("exchange_x", "exchange_y", "anisotropy", "bulk_x", "bulk_y")),
        *((name, np.float32) for name in ("interfacial_x", "interfacial_y", "field_x", "field_y", "field_z")),
        ("stiffness", np.float32),
        ("torque", np.float32),
        ("max_evaluations", np.int32),
        ("seed_low", np.uint32),
        ("seed_high", np.uint32),
        ("initial", np.int32),
    ],
    align=True,
)
REPORT = np.dtype(
    [
        ("mode", np.int32),
        ("evaluations", np.int32),
        ("buffer", np.int32),
        ("unused", np.int32),
        ("energy", np.float64),
        ("torque", np.float64),
    ],
    align=True,
)
IDLE, RUNNING, CONVERGED, NOT_CONVERGED, FAILED = range(5)
INITIAL = ("random", "up")  # in the order of the kernels' numbers

CHUNK = 8  # slots to a call of cuFFT; a plan's batch is fixed, so that a film is transformed alike in any company
RING = 5  # as in kernels.cu
FORCE_SUMS = 11
ROWS = 8  # of a film to a block of the force kernel
ITERATIONS = 8  # in a graph: how long a finished film may wait for the host
TERMS = ("exchange", "anisotropy", "dmi", "demag", "zeeman")


def film_record(film: Film, stage: Minimize) -> NDArray[np.void]:
    """The film as the kernels read it, for one stage of its protocol."""
    c = Coefficients.of(film)
    record = np.zeros((), FILM)
    with np.errstate(over="ignore"):  # an infinite factor gives an energy that is reported as not finite
        for name in FILM.names or ():
            if hasattr(c, name):
                record[name] = getattr(c, name)
        record["field_x"], record["field_y"], record["field_z"] = c.field
        record["stiffness"] = stiffness(film)
    record["sigma"] = film.sigma
    record["torque"], record["max_evaluations"] = stage.torque, stage.max_evaluations
    record["seed_low"], record["seed_high"] = film.seed & 0xFFFFFFFF, film.seed >> 32
    record["initial"] = INITIAL.index(film.protocol.initial)
    return record


def kernels() -> cp.RawModule:
    """The compiled kernels; CuPy keeps the result on disk."""
    source = Path(__file__).with_name("kernels.cu").read_text()
    return cp.RawModule(code=source, options=("-std=c++17", "--extra-device-vectorization"))


class Batch:
    """`slots` films of the same cells and cell size, being minimised. Fields in units of Ms."""

    def __init__(self, cells: tuple[int, int], cell_size: tuple[float, float, float], slots: int) -> None:
        self.nx, self.ny = cells
        self.cells, self.nk, self.slots = self.nx * self.ny, self.nx // 2 + 1, slots
        self.stream = cp.cuda.Stream(non_blocking=True)
        self.module = kernels()
        self._check_layout()
        with self.stream:
            self._allocate(cell_size)
            self.graph = self._capture()
            self.stream.synchronize()

    def _check_layout(self) -> None:
        sizes = cp.zeros(3, np.int32)
        self._kernel("struct_sizes")((1,), (1,), (sizes,))
        film, report, self.slot_bytes = (int(size) for size in sizes.get())
        if (film, report) != (FILM.itemsize, REPORT.itemsize):
            raise RuntimeError(f"kernels.cu and batch.py disagree: {film}, {report} and {FILM}, {REPORT}")

    def _kernel(self, name: str) -> Any:
        return self.module.get_function(name)

    def _allocate(self, cell_size: tuple[float, float, float]) -> None:
        vectors, waves = (self.slots, 3, self.ny, self.nx), (self.slots, 3, self.ny, self.nk)
        self.m = [cp.zeros(vectors, np.float32) for _ in range(2)]
        self.w = [cp.zeros(vectors, np.float32) for _ in range(2)]  # P times the force
        self.h = cp.zeros(vectors, np.float32)
        self.spectrum = cp.zeros(waves, np.complex64)
        self.ku1 = cp.ones((self.slots, self.ny, self.nx), np.float32)
        self.rings = [cp.zeros((RING, self.slots, 3, self.cells // 2), np.uint32) for _ in range(2)]
        self.films = cp.zeros(self.slots * FILM.itemsize, np.uint8)
        self.states = cp.zeros(self.slots * self.slot_bytes, np.uint8)
        self.reports = cp.zeros(self.slots * REPORT.itemsize, np.uint8)
        tensor = fourier_tensor((self.nx, self.ny), cell_size) / self.cells
        self.tensor = cp.asarray(tensor, np.float32)
        self.symbols = [cp.asarray(2 - 2 * np.cos(2 * np.pi * np.arange(k) / n), np.float32) for k, n in self._waves()]
        self.force_blocks, self.step_blocks = math.ceil(self.ny / ROWS), max(1, self.cells // 2 // 256 // 4)
        self.wave_blocks = max(1, self.ny * self.nk // 256 // 4)
        self.sums = cp.zeros((self.slots, self.force_blocks, FORCE_SUMS))
        self.torques = cp.zeros((self.slots, self.force_blocks), np.float32)
        self.slopes = cp.zeros((self.slots, self.step_blocks))
        self.turns = cp.zeros((self.slots, self.step_blocks), np.float32)
        self.powers = cp.zeros((self.slots, self.wave_blocks))
        running = np.array((RUNNING, 0, 0, 0, 0, 0), REPORT)
        self.running = cp.asarray(np.frombuffer(running.tobytes(), np.uint8))
        self.one_field = cp.zeros((3, self.ny, self.nx), np.float32)
        self.one_spectrum = cp.zeros((3, self.ny, self.nk), np.complex64)
        self.plans = {count: self._plans(3 * count) for count in (1, CHUNK)}

    def _waves(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return (self.nk, self.nx), (self.ny, self.ny)

    def _plans(self, batch: int) -> tuple[cufft.PlanNd, cufft.PlanNd]:
        shape, real, waves = (self.ny, self.nx), self.cells, self.ny * self.nk
        half = (self.ny, self.nk)
        forward = cufft.PlanNd(shape, shape, 1, real, half, 1, waves, cufft.CUFFT_R2C, batch, "C", 1, self.nx)
        inverse = cufft.PlanNd(shape, half, 1, waves, shape, 1, real, cufft.CUFFT_C2R, batch, "C", 1, self.nx)
        return forward, inverse

    def _transform(self, vectors: cp.ndarray) -> None:
        forward, _ = self.plans[CHUNK]
        for first in range(0, self.slots, CHUNK):
            chunk = slice(first, first + CHUNK)
            forward.fft(vectors[chunk], self.spectrum[chunk], cufft.CUFFT_FORWARD)

    def _transform_back(self, vectors: cp.ndarray) -> None:
        _, inverse = self.plans[CHUNK]
        for first in range(0, self.slots, CHUNK):
            chunk = slice(first, first + CHUNK)
            inverse.fft(self.spectrum[chunk], vectors[chunk], cufft.CUFFT_INVERSE)

    def field(self, at: int) -> None:
        """The force at m[at], into h, with the sums that the minimiser needs of it: one field evaluation."""
        grid, waves = (self.wave_blocks, self.slots), np.int32(self.ny * self.nk)
        self._transform(self.m[at])
        self._kernel("demag")(grid, (256,), (self.spectrum, self.tensor, self.reports, waves))
        self._transform_back(self.h)
        shape = (np.int32(self.slots), np.int32(self.ny), np.int32(self.nx), np.int32(ROWS))
        threads = min(256, 32 * math.ceil(self.nx / 64))
        arrays = (self.m[at], self.h, self.ku1, self.w[1 - at], *self.rings, self.films, self.states, self.reports)
        self._kernel("force")((self.force_blocks, self.slots), (threads,), (*arrays, self.sums, self.torques, *shape))

    def _evaluate(self, at: int) -> None:
        """The force and P times the force at m[at]."""
        self.field(at)
        self._transform(self.h)
        grid = (self.wave_blocks, self.slots)
        sizes = (np.int32(self.ny), np.int32(self.nk), np.int32(self.nx))
        arguments = (self.spectrum, *self.symbols, self.films, self.reports, self.powers, *sizes)
        self._kernel("precondition")(grid, (256,), arguments)
        self._transform_back(self.w[at])

    def _iterate(self, here: int) -> None:
        """A step from m[here] to the other m, its evaluation, and the decision."""
        there = 1 - here
        arrays = (self.m[here], self.m[there], self.h, self.w[here], self.w[there], *self.rings)
        results = (self.slopes, self.turns, np.int32(self.slots), np.int32(self.cells))
        self._kernel("step")((self.step_blocks, self.slots), (256,), (*arrays, self.states, self.reports, *results))
        self._evaluate(there)
        force = (self.sums, self.torques, np.int32(self.force_blocks))
        step = (self.slopes, self.turns, np.int32(self.step_blocks))
        power = (self.powers, np.int32(self.wave_blocks), np.int32(self.cells), np.int32(there))
        self._kernel("decide")((self.slots,), (32,), (self.films, self.states, self.reports, *force, *step, *power))

    def _capture(self) -> Any:
        for here in (0, 1):  # loads every kernel and plan before the capture; all slots are idle
            self._iterate(here)
        self.stream.begin_capture()
        for iteration in range(ITERATIONS):
            self._iterate(iteration % 2)
        return self.stream.end_capture()

    def begin(self, records: dict[int, NDArray[np.void]]) -> None:
        """Puts films into slots; the graph's next evaluation is their first."""
        with self.stream:
            for slot, record in records.items():
                place = slice(slot * FILM.itemsize, (slot + 1) * FILM.itemsize)
                self.films[place] = cp.asarray(np.frombuffer(record.tobytes(), np.uint8))
            listed = cp.asarray(list(records), np.int32)
            grid = (max(1, self.cells // 256 // 4), len(records))
            arrays = (self.films, self.states, self.reports, listed, self.m[1], self.ku1, np.int32(self.cells))
            self._kernel("begin")(grid, (256,), arrays)

    def begin_next_stage(self, slot: int, buffer: int, record: NDArray[np.void]) -> None:
        """Goes on with the film that the slot holds, from its m[buffer]."""
        if buffer == 0:
            with self.stream:
                self.m[1][slot] = self.m[0][slot]
        record["initial"] = len(INITIAL)
        self.begin({slot: record})

    def launch(self) -> None:
        """Starts ITERATIONS iterations of every running slot."""
        self.graph.launch(self.stream)

    def reports_now(self) -> NDArray[np.void]:
        """The slots' reports, once what was started is done."""
        with self.stream:
            return np.frombuffer(self.reports.get().tobytes(), REPORT)

    def take(self, slot: int, buffer: int) -> tuple[cp.ndarray, cp.ndarray]:
        """Copies of a slot's m, (3, ny, nx), and of its energies' sums over cells, (blocks, terms), on the device."""
        with self.stream:
            m, (forward, inverse) = self.m[buffer][slot].copy(), self.plans[1]
            forward.fft(m, self.one_spectrum, cufft.CUFFT_FORWARD)
            grid, waves = (self.wave_blocks, 1), np.int32(self.ny * self.nk)
            self._kernel("demag")(grid, (256,), (self.one_spectrum, self.tensor, self.running, waves))
            inverse.fft(self.one_spectrum, self.one_field, cufft.CUFFT_INVERSE)
            sums = cp.empty((64, len(TERMS)))
            sizes = (np.int32(slot), sums, np.int32(self.ny), np.int32(self.nx))
            self._kernel("energies")((len(sums),), (256,), (m, self.one_field, self.ku1[slot], self.films, *sizes))
            return m, sums
