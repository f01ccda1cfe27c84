"""The GPU solver: films pass through the slots of a batch; when one is done, the next takes its slot."""

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cupy as cp
import numpy as np
from numpy.typing import NDArray

from magray.errors import UserError
from magray.films.film import Film
from magray.films.protocol import Minimize, Quench, Stage
from magray.micromagnetics.gpu.batch import FAILED, NOT_CONVERGED, QUENCHING, RUNNING, TERMS, Batch, film_record
from magray.micromagnetics.gpu.fourier import slots_of_a_plan
from magray.micromagnetics.llg import impossible
from magray.micromagnetics.queue import CELLS, FilmQueue
from magray.micromagnetics.result import RelaxedFilm, failed, unfinished
from magray.units import MU0

BYTES_PER_CELL = 200  # of all arrays, with cuFFT's own
BYTES_PER_PADDED_CELL = 40  # of the arrays that hold an open film with the empty cells around it


def bytes_per_cell(film: Film) -> int:
    """Return the bytes of device memory for each cell of each slot."""
    padding = math.prod(1 + is_open for is_open in film.open_axes)
    return BYTES_PER_CELL + (BYTES_PER_PADDED_CELL * padding if padding > 1 else 0)


@dataclass
class SlotState:
    """The state of a slot: its film, the time when it began, its stage, and its evaluations so far.

    parts: inner steps in an outer step of the stage; 0 for a stage other than a quench.
    """

    film: Film
    start: float
    parts: int
    stage: int = 0
    evaluations: int = 0
    reasons: list[str] = field(default_factory=list)

    @property
    def now(self) -> Stage:
        """The current stage of the film."""
        return self.film.protocol.stages[self.stage]

    @property
    def mode(self) -> int:
        """The mode of the slot during the stage."""
        return QUENCHING if isinstance(self.now, Quench) else RUNNING


@dataclass(frozen=True)
class Finished:
    """A film taken out of its slot: the results of `Batch.take`, still on the GPU, and the slot's last report."""

    slot: SlotState
    m: cp.ndarray
    sums: cp.ndarray
    torques2: cp.ndarray
    report: np.void
    ready: cp.cuda.Event


class GpuSolver:
    """A solver of films on one GPU. It keeps its batch between lists of films of the same shape."""

    def __init__(self) -> None:
        self.device = cp.cuda.runtime.getDeviceProperties(cp.cuda.Device().id)["name"].decode()
        self.copies = cp.cuda.Stream(non_blocking=True)
        self.batches: dict[tuple[object, ...], Batch] = {}

    def stream(self, films: Sequence[Film], solver: str) -> Iterator[RelaxedFilm]:
        """Yield each film's end state as it finishes; films of one shape after those of another."""
        queue = FilmQueue()
        queue.add(films)
        queue.close()
        yield from self.serve(queue, solver)

    def serve(self, queue: FilmQueue, solver: str) -> Iterator[RelaxedFilm]:
        """Yield each film's end state as it finishes, until the queue is closed and empty."""
        while (waiting := queue.next_bucket()) is not None:
            yield from self._run(self._batch(waiting[0], CELLS if queue.open else len(waiting)), waiting, solver)

    def _batch(self, film: Film, films: int) -> Batch:
        size, chunk = film.cells[0] * film.cells[1], slots_of_a_plan(film)
        need = size * bytes_per_cell(film)
        free = cp.cuda.Device().mem_info[0] + cp.get_default_memory_pool().free_bytes()
        fitting = int(0.9 * free / need) // chunk * chunk
        slots = -(-max(1, min(films, CELLS // size)) // chunk) * chunk
        if film.shape not in self.batches or self.batches[film.shape].slots < min(slots, fitting):
            self.batches.clear()
            cp.get_default_memory_pool().free_all_blocks()
            if not fitting:
                raise UserError(
                    f"a film of {film.cells[0]}×{film.cells[1]} cells takes {need / 2**30:.1f} GiB and {chunk} share a "
                    f"batch, but {free / 2**30:.1f} GiB of this GPU are free: use smaller films or another GPU"
                )
            self.batches[film.shape] = Batch(film, min(slots, fitting))
        return self.batches[film.shape]

    def _run(self, batch: Batch, waiting: deque[Film], solver: str) -> Iterator[RelaxedFilm]:
        """Yield the results of the waiting films, and of those that join them meanwhile."""
        occupants: dict[int, SlotState] = {}
        taken: list[Finished] = []
        while occupants or taken or waiting:
            for refused, reason in self._fill(batch, occupants, waiting):
                yield failed(refused, 0, 0.0, self.device, solver, reason)
            for mode in sorted({occupant.mode for occupant in occupants.values()}):
                batch.launch(mode, max(occupant.parts for occupant in occupants.values() if occupant.mode == mode))
            # while the GPU works on the others, the finished films leave it
            yield from (self._relaxed(batch, film, solver) for film in taken)
            reports = batch.reports_now()
            ended = {slot: reports[slot] for slot in occupants if reports[slot]["mode"] != occupants[slot].mode}
            taken = [film for slot, report in ended.items() if (film := self._end(batch, occupants, slot, report))]

    def _fill(self, batch: Batch, occupants: dict[int, SlotState], waiting: deque[Film]) -> list[tuple[Film, str]]:
        """Put waiting films into free slots. Returns the films that cannot be simulated, and why."""
        new: dict[int, NDArray[np.void]] = {}
        refused = []
        free = deque(slot for slot in range(batch.slots) if slot not in occupants)
        while free and waiting:
            film = waiting.popleft()
            if reason := impossible(film):
                refused.append((film, reason))
            else:
                slot, record = free.popleft(), film_record(film)
                occupants[slot] = SlotState(film, time.perf_counter(), int(record["parts"]))
                new[slot] = record
        if new:
            batch.begin(new)
        return refused

    def _end(self, batch: Batch, occupants: dict[int, SlotState], slot: int, report: np.void) -> Finished | None:
        """End the slot's stage: begin the next one, or take the film out and return it."""
        occupant, stage = occupants[slot], occupants[slot].now
        occupant.evaluations += int(report["evaluations"])
        if report["mode"] == NOT_CONVERGED and isinstance(stage, Minimize):
            occupant.reasons.append(unfinished(float(report["torque"]), int(report["evaluations"]), stage))
        if report["mode"] != FAILED and occupant.stage + 1 < len(occupant.film.protocol.stages):
            occupant.stage += 1
            record = film_record(occupant.film, occupant.stage)
            occupant.parts = int(record["parts"])
            batch.begin_next_stage(slot, int(report["buffer"]), record)
            return None
        del occupants[slot]
        taken = batch.take(slot, int(report["buffer"]))
        return Finished(occupant, *taken, report, batch.stream.record())

    def _relaxed(self, batch: Batch, taken: Finished, solver: str) -> RelaxedFilm:
        film, occupant = taken.slot.film, taken.slot
        seconds = (time.perf_counter() - occupant.start) / batch.slots
        with self.copies:
            self.copies.wait_event(taken.ready)
            m, torque2 = taken.m.get(), float(taken.torques2.get().max())
            sums = taken.sums.get().sum(axis=0) / batch.magnetic_cells * MU0 * film.Ms**2
        if taken.report["mode"] == FAILED or not np.isfinite(sums).all():
            return failed(film, occupant.evaluations, seconds, self.device, solver)
        energy = dict(zip(TERMS, sums.tolist(), strict=True))
        minimized = isinstance(occupant.now, Minimize)
        return RelaxedFilm(
            film=film,
            m=m,
            energy=energy | {"total": sum(energy.values())},
            max_torque=float(taken.report["torque"]) if minimized else math.sqrt(torque2),
            evaluations=occupant.evaluations,
            status="not_converged" if occupant.reasons else "converged",
            reason="; ".join(occupant.reasons),
            seconds=seconds,
            device=self.device,
            solver=solver,
        )
