"""A batch of film slots on one GPU: the arrays, and one iteration of the minimiser over all of them.

One iteration is a step, an evaluation of the field at the new point, and a decision; every slot makes its own. The
iterations are captured in a CUDA graph, so that the host does nothing between two looks at the slots' reports.
"""

import math
from pathlib import Path
from typing import Any

import cupy as cp
import numpy as np
from numpy.typing import NDArray

from magray.films.film import Film
from magray.films.protocol import Minimize
from magray.micromagnetics.gpu.fourier import transforms
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

SOURCES = ("kernels.cu", "fourier.cu")  # compiled as one
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
    folder = Path(__file__).parent
    source = "".join((folder / name).read_text(encoding="utf-8") for name in SOURCES)
    return cp.RawModule(code=source, options=("-std=c++17",))


class Batch:
    """`slots` films of the same cells and cell size, being minimised. Fields in units of Ms."""

    def __init__(self, cells: tuple[int, int], cell_size: tuple[float, float, float], slots: int) -> None:
        self.nx, self.ny = cells
        self.cells, self.slots = self.nx * self.ny, slots
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
        vectors = (self.slots, 3, self.ny, self.nx)
        self.m = [cp.zeros(vectors, np.float32) for _ in range(2)]
        self.w = [cp.zeros(vectors, np.float32) for _ in range(2)]  # P times the force
        self.h = cp.zeros(vectors, np.float32)
        self.ku1 = cp.ones((self.slots, self.ny, self.nx), np.float32)
        self.rings = [cp.zeros((RING, self.slots, 3, self.cells // 2), np.uint32) for _ in range(2)]
        self.films = cp.zeros(self.slots * FILM.itemsize, np.uint8)
        self.states = cp.zeros(self.slots * self.slot_bytes, np.uint8)
        self.reports = cp.zeros(self.slots * REPORT.itemsize, np.uint8)
        self.fourier = transforms(self.module, (self.nx, self.ny), cell_size, self.slots)
        self.force_blocks, self.step_blocks = math.ceil(self.ny / ROWS), max(1, self.cells // 2 // 256 // 4)
        self.sums = cp.zeros((self.slots, self.force_blocks, FORCE_SUMS))
        self.torques = cp.zeros((self.slots, self.force_blocks), np.float32)
        self.slopes = cp.zeros((self.slots, self.step_blocks))
        self.turns = cp.zeros((self.slots, self.step_blocks), np.float32)
        running = np.array((RUNNING, 0, 0, 0, 0, 0), REPORT)
        self.running = cp.asarray(np.frombuffer(running.tobytes(), np.uint8))
        self.one_field = cp.zeros((1, 3, self.ny, self.nx), np.float32)

    def field(self, at: int) -> None:
        """The force at m[at], into h, with the sums that the minimiser needs of it: one field evaluation."""
        self.fourier.demag(self.m[at], self.h, self.reports)
        shape = (np.int32(self.slots), np.int32(self.ny), np.int32(self.nx), np.int32(ROWS))
        threads = min(256, 32 * math.ceil(self.nx / 64))
        arrays = (self.m[at], self.h, self.ku1, self.w[1 - at], *self.rings, self.films, self.states, self.reports)
        self._kernel("force")((self.force_blocks, self.slots), (threads,), (*arrays, self.sums, self.torques, *shape))

    def _evaluate(self, at: int) -> None:
        """The force and P times the force at m[at]."""
        self.field(at)
        self.fourier.precondition(self.h, self.w[at], self.films, self.reports)

    def _iterate(self, here: int) -> None:
        """A step from m[here] to the other m, its evaluation, and the decision."""
        there = 1 - here
        arrays = (self.m[here], self.m[there], self.h, self.w[here], self.w[there], *self.rings)
        results = (self.slopes, self.turns, np.int32(self.slots), np.int32(self.cells))
        self._kernel("step")((self.step_blocks, self.slots), (256,), (*arrays, self.states, self.reports, *results))
        self._evaluate(there)
        force = (self.sums, self.torques, np.int32(self.force_blocks))
        step = (self.slopes, self.turns, np.int32(self.step_blocks))
        power = (self.fourier.powers, np.int32(self.fourier.power_blocks), np.int32(self.cells), np.int32(there))
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
            m = self.m[buffer][slot].copy()
            self.fourier.demag(m[None], self.one_field, self.running)
            sums = cp.empty((64, len(TERMS)))
            sizes = (np.int32(slot), sums, np.int32(self.ny), np.int32(self.nx))
            self._kernel("energies")((len(sums),), (256,), (m, self.one_field[0], self.ku1[slot], self.films, *sizes))
            return m, sums
