"""A batch of film slots on one GPU: the arrays, and one iteration of the minimiser or the quench over all of them.

An iteration of the minimiser is a step, an evaluation of the field at the new point, and a decision; one of the quench
is an outer step. Slots are independent of each other. Iterations are captured in CUDA graphs, one of each kind, so that
the host is idle between two reads of the slots' reports.

CuPy compiles a kernel of its own for each kind of arithmetic, filling or assignment, which delays a new machine's first
film. So arrays are only made of zeros, copied whole and set from the host here, which takes no kernel.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cupy as cp
import numpy as np
from numpy.typing import NDArray

from magray.cuda import compile_module
from magray.films.film import Film
from magray.films.protocol import Quench, Uniform
from magray.micromagnetics.backend import HISTORY, Coefficients, stiffness
from magray.micromagnetics.gpu.constants import SCHEME
from magray.micromagnetics.gpu.fourier import definitions, sources, transforms
from magray.micromagnetics.gpu.tensors import kind_of
from magray.micromagnetics.grains import tiles
from magray.micromagnetics.initial_state import square_of, unit
from magray.micromagnetics.llg import Steps
from magray.micromagnetics.mask import mask

FILM = np.dtype(
    [
        *((name, np.float64) for name in ("sigma", "direction_x", "direction_y", "direction_z", "noise")),
        *((name, np.float64) for name in ("tile_x", "tile_y", "cell_x", "cell_y", "cell_z")),
        *((name, np.float32) for name in ("exchange_x", "exchange_y", "anisotropy", "bulk_x", "bulk_y")),
        *((name, np.float32) for name in ("interfacial_x", "interfacial_y", "field_x", "field_y", "field_z")),
        *((name, np.float32) for name in ("stiffness", "torque")),
        ("max_evaluations", np.int32),
        ("seed_low", np.uint32),
        ("seed_high", np.uint32),
        *((name, np.int32) for name in ("initial", "grains_x", "grains_y", "mode")),
        *((name, np.float32) for name in ("alpha", "rotation", "thermal_std")),
        *(
            (name, np.int32)
            for name in ("stage", "ramp", "single", "parts", "outer_steps", "demag", "tensor", "number")
        ),
        *((name, np.int32) for name in ("square_x", "square_y")),
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
IDLE, RUNNING, CONVERGED, NOT_CONVERGED, FAILED, QUENCHING, QUENCHED = range(7)
RANDOM, UNIFORM, AS_IT_IS, AS_THE_OTHER_IS = range(4)  # initial states

SOURCES = ("film.cu", "tensor.cu", "minimizer.cu", "quench.cu")  # compiled as one with those of the transforms
RING = HISTORY + 1  # as in film.cu
FORCE_SUMS = 3 + 2 * HISTORY  # as in minimizer.cu
ROWS = 8  # of a film to a block of the force kernel
TILE, TILE_THREADS = 32, 320  # cells of a side, and threads, of a block of the quench
ITERATIONS = 8  # in a graph: how long a finished film may wait for the host
TERMS = ("exchange", "anisotropy", "dmi", "demag", "zeeman")


def film_record(film: Film, number: int = 0) -> NDArray[np.void]:
    """Return the film as the kernels read it, for the step `number` of its protocol."""
    step = film.protocol.steps[number]
    specimen = film.in_stage(step.does)
    c = Coefficients.of(specimen)
    record = np.zeros((), FILM)
    with np.errstate(over="ignore"):  # an infinite factor gives an energy that is reported as not finite
        for name in FILM.names or ():
            if hasattr(c, name):
                record[name] = getattr(c, name)
        record["field_x"], record["field_y"], record["field_z"] = c.field
        record["stiffness"] = stiffness(specimen)
    record["sigma"], record["demag"] = film.sigma, film.demag
    record["cell_x"], record["cell_y"], record["cell_z"] = film.cell_size
    record["seed_low"], record["seed_high"] = film.seed & 0xFFFFFFFF, film.seed >> 32
    record["stage"], record["number"] = step.stage, step.number
    _record_start(record, film)
    if number:
        record["noise"] = step.noise
    if isinstance(step.does, Quench):
        _record_quench(record, specimen, step.does)
    else:
        record["mode"] = RUNNING
        record["torque"], record["max_evaluations"] = step.does.torque, step.does.max_evaluations
    return record


def _record_start(record: NDArray[np.void], film: Film) -> None:
    """Set the initial state and the grains."""
    initial = film.protocol.initial
    record["square_x"], record["square_y"] = square_of(film)
    if isinstance(initial, Uniform):
        record["initial"], record["noise"] = UNIFORM, initial.noise
        record["direction_x"], record["direction_y"], record["direction_z"] = unit(initial.direction)
    if film.grain_size:
        record["grains_x"], record["grains_y"] = grains = tiles(film.cells, film.cell_size, film.grain_size)
        for name, n, d, count in zip(("tile_x", "tile_y"), film.cells, film.cell_size, grains, strict=False):
            record[name] = n * d / count


def _record_quench(record: NDArray[np.void], film: Film, stage: Quench) -> None:
    steps = Steps.of(film, stage)
    record["mode"], record["alpha"], record["outer_steps"] = QUENCHING, stage.alpha, steps.outer
    for name in ("rotation", "thermal_std", "ramp", "single", "parts"):
        record[name] = getattr(steps, name)


def kernels(film: Film) -> cp.RawModule:
    """Return the kernels, compiled for films of the shape of `film`. Raises UserError without a compiler."""
    folder = Path(__file__).parent
    source = "".join((folder / name).read_text(encoding="utf-8") for name in (*SOURCES, *sources(film)))
    return compile_module(source, macros(film))


def macros(film: Film) -> dict[str, int | float | str]:
    """Return the macros that the kernels are compiled with for films of the shape of `film`."""
    (open_x, open_y), ellipse = film.open_axes, film.open_edges == "ellipse"
    shape = {"OPEN_X": int(open_x), "OPEN_Y": int(open_y), "ELLIPSE": int(ellipse)}
    return SCHEME | shape | definitions(film)


class Batch:
    """A batch of `slots` films of the shape of `film`, being minimised or quenched. Fields in units of Ms."""

    def __init__(self, film: Film, slots: int) -> None:
        self.nx, self.ny = film.cells
        self.cells, self.slots = self.nx * self.ny, slots
        self.magnetic_cells = int(np.count_nonzero(mask(film)))
        self.stream = cp.cuda.Stream(non_blocking=True)
        self.module = kernels(film)
        self._check_layout()
        with self.stream:
            self._allocate(film)
            self.stream.synchronize()
        self.graphs: dict[tuple[int, int], Any] = {}

    def _check_layout(self) -> None:
        sizes = cp.zeros(3, np.int32)
        self._kernel("struct_sizes")((1,), (1,), (sizes,))
        film, report, self.slot_bytes = (int(size) for size in sizes.get())
        if (film, report) != (FILM.itemsize, REPORT.itemsize):
            raise RuntimeError(f"film.cu and batch.py disagree: {film}, {report} and {FILM}, {REPORT}")

    def _kernel(self, name: str) -> Any:
        return self.module.get_function(name)

    def _allocate(self, film: Film) -> None:
        vectors = (self.slots, 3, self.ny, self.nx)
        self.m = [cp.zeros(vectors, np.float32) for _ in range(2)]
        self.w = [cp.zeros(vectors, np.float32) for _ in range(2)]  # P times the force
        self.demag: list[cp.ndarray] = []  # of a quench: at the beginning of this outer step and of the one before
        self.h = cp.zeros(vectors, np.float32)
        self.ku1 = cp.zeros((self.slots, self.ny, self.nx), np.float32)
        self.rings = [cp.zeros((RING, self.slots, 3, self.cells // 2), np.uint32) for _ in range(2)]
        self.films = cp.zeros(self.slots * FILM.itemsize, np.uint8)
        self.states = cp.zeros(self.slots * self.slot_bytes, np.uint8)
        self.reports = cp.zeros(self.slots * REPORT.itemsize, np.uint8)
        self.fourier = transforms(self.module, film, self.slots)
        self.force_blocks, self.step_blocks = math.ceil(self.ny / ROWS), max(1, self.cells // 2 // 256 // 4)
        self.sums = cp.zeros((self.slots, self.force_blocks, FORCE_SUMS))
        self.torques = cp.zeros((self.slots, self.force_blocks), np.float32)
        self.slopes = cp.zeros((self.slots, self.step_blocks))
        self.turns = cp.zeros((self.slots, self.step_blocks), np.float32)
        running = np.array((RUNNING, 0, 0, 0, 0, 0), REPORT)
        self.running = cp.asarray(np.frombuffer(running.tobytes(), np.uint8))
        self.one_field = cp.zeros((1, 3, self.ny, self.nx), np.float32)

    def field(self, at: int) -> None:
        """Compute the force at m[at] into h, with the sums that the minimiser needs: one field evaluation."""
        shape = (np.int32(self.slots), np.int32(self.ny), np.int32(self.nx), np.int32(ROWS))
        arrays = (self.m[at], self.h, self.ku1, self.w[1 - at], *self.rings, self.films, self.states, self.reports)
        arguments = (*arrays, self.sums, self.torques, *shape)
        if self.fourier.fused:
            self.fourier.force(self.m[at], self.films, self.reports, arguments, self.force_blocks)
            return
        self.fourier.demag(self.m[at], self.h, self.films, self.reports, RUNNING)
        threads = min(256, 32 * math.ceil(self.nx / 64))
        self._kernel("force")((self.force_blocks, self.slots), (threads,), arguments)

    def _evaluate(self, at: int) -> None:
        """Compute the force and P times the force at m[at]."""
        self.field(at)
        self.fourier.precondition(self.h, self.w[at], self.films, self.reports)

    def _iterate(self, here: int) -> None:
        """Take a step from m[here] to the other m, evaluate it, and decide on it."""
        there = 1 - here
        arrays = (self.m[here], self.m[there], self.h, self.w[here], self.w[there], *self.rings)
        results = (self.slopes, self.turns, *(np.int32(n) for n in (self.slots, self.cells, self.nx)))
        self._kernel("step")((self.step_blocks, self.slots), (256,), (*arrays, self.states, self.reports, *results))
        self._evaluate(there)
        force = (self.sums, self.torques, np.int32(self.force_blocks))
        step = (self.slopes, self.turns, np.int32(self.step_blocks))
        power = (self.fourier.powers, np.int32(self.fourier.power_blocks), np.int32(self.cells), np.int32(there))
        self._kernel("decide")((self.slots,), (32,), (self.films, self.states, self.reports, *force, *step, *power))

    def _quench(self, there: int, parts: int) -> None:
        """Take an outer step, of `parts` inner ones at most, of every quenching slot from the other m to m[there]."""
        here = 1 - there
        if not self.demag:
            self.demag = [cp.zeros_like(self.h) for _ in range(2)]
        self.fourier.demag(self.m[here], self.demag[here], self.films, self.reports, QUENCHING)
        grid = (math.ceil(self.nx / TILE), math.ceil(self.ny / TILE), self.slots)
        for part in range(parts):
            ends = (self.m[here], self.m[there]) if part % 2 == 0 else (self.m[there], self.m[here])
            arrays = (*ends, self.demag[here], self.demag[there], self.ku1, self.films, self.states, self.reports)
            self._kernel("advance")(
                grid, (TILE_THREADS,), (*arrays, np.int32(part), np.int32(self.ny), np.int32(self.nx))
            )
        arguments = (self.films, self.states, self.reports, np.int32(self.slots), np.int32(there))
        self._kernel("end_outer_step")((math.ceil(self.slots / 32),), (32,), arguments)

    def _capture(self, iterate: Callable[[int], None]) -> Any:
        """Return a graph of ITERATIONS iterations. The first reads m[1], where films begin."""
        for there in (0, 1):  # loads every kernel and plan before the capture
            iterate(there)
        self.stream.begin_capture()
        for iteration in range(ITERATIONS):
            iterate(iteration % 2)
        return self.stream.end_capture()

    def begin(self, records: dict[int, NDArray[np.void]]) -> None:
        """Put films into slots; the graph's next evaluation is their first."""
        with self.stream:
            places = self.fourier.tensors.assign({slot: kind_of(record) for slot, record in records.items()})
            for slot, record in records.items():
                record["tensor"] = places[slot]
                place = slice(slot * FILM.itemsize, (slot + 1) * FILM.itemsize)
                self.films[place].set(np.frombuffer(record.tobytes(), np.uint8), self.stream)
            listed = cp.asarray(list(records), np.int32)
            grid = (max(1, self.cells // 256 // 4), len(records))
            arrays = (self.films, self.states, self.reports, listed, self.m[1], self.m[0], self.ku1)
            sizes = (np.int32(self.ny), np.int32(self.nx))
            self._kernel("begin")(grid, (256,), (*arrays, *sizes))

    def begin_next_steps(self, records: dict[int, NDArray[np.void]], reports: Mapping[int, np.void]) -> None:
        """Begin the next step of the films that these slots hold, from where they ended."""
        for slot, record in records.items():
            record["initial"] = AS_IT_IS if reports[slot]["buffer"] else AS_THE_OTHER_IS
        if records:
            self.begin(records)

    def means(self, slots: Sequence[int]) -> NDArray[np.float64]:
        """Return the mean m, (slots, 3), of the films that these slots hold, where they ended."""
        with self.stream:
            listed, sums = cp.asarray(list(slots), np.int32), cp.zeros((len(slots), 64, 3))
            arrays = (*self.m, self.reports, listed, sums)
            self._kernel("sums_of_m")((64, len(slots)), (256,), (*arrays, np.int32(self.ny), np.int32(self.nx)))
            return np.asarray(sums.get().sum(axis=1) / self.magnetic_cells)

    def launch(self, mode: int, parts: int = 0) -> None:
        """Start ITERATIONS iterations of every slot in the mode RUNNING or QUENCHING.

        parts: the largest number of inner steps in an outer step of a slot.
        """
        if (mode, parts) not in self.graphs:
            with self.stream:
                self.graphs[mode, parts] = self._capture(partial(self._quench, parts=parts) if parts else self._iterate)
        self.graphs[mode, parts].launch(self.stream)

    def reports_now(self) -> NDArray[np.void]:
        """Return the slots' reports, once all launched work is done."""
        with self.stream:
            return np.frombuffer(self.reports.get().tobytes(), REPORT)

    def take(self, slot: int, buffer: int) -> tuple[cp.ndarray, cp.ndarray, cp.ndarray]:
        """Copy a slot's m, (3, ny, nx), on the device, in the batch's stream.

        Returns it with the sums of its energies over cells, (blocks, terms), and its largest |m × h|², (blocks).
        """
        with self.stream:
            m = self.m[buffer][slot].copy()
            film = self.films[slot * FILM.itemsize :]
            self.fourier.demag(m[None], self.one_field, film, self.running, RUNNING)
            sums, torques = cp.empty((64, len(TERMS))), cp.empty(64, np.float32)
            results = (np.int32(slot), sums, torques, np.int32(self.ny), np.int32(self.nx))
            self._kernel("energies")((len(sums),), (256,), (m, self.one_field[0], self.ku1[slot], self.films, *results))
            return m, sums, torques
