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
from magray.films.protocol import Minimize, Quench, Step
from magray.micromagnetics.gpu.batch import FAILED, NOT_CONVERGED, QUENCHING, RUNNING, TERMS, Batch, film_record
from magray.micromagnetics.gpu.fourier import slots_of_a_plan
from magray.micromagnetics.llg import impossible
from magray.micromagnetics.queue import CELLS, FilmQueue
from magray.micromagnetics.result import LoopPoint, RelaxedFilm, Unfinished, failed, unfinished
from magray.units import MU0

BYTES_PER_CELL = 200  # of all arrays, with cuFFT's own
BYTES_PER_PADDED_CELL = 40  # of the arrays that hold an open film with the empty cells around it


def _bytes_per_cell(film: Film) -> int:
    """Return the bytes of device memory for each cell of each slot."""
    padding = math.prod(1 + is_open for is_open in film.open_axes)
    return BYTES_PER_CELL + (BYTES_PER_PADDED_CELL * padding if padding > 1 else 0)


@dataclass
class _SlotState:
    """The state of a slot: its film, the time when it began, its stage, and its evaluations so far.

    parts: inner steps in an outer step of a quench; 0 during a minimisation. step: its place in the protocol's steps.
    """

    film: Film
    start: float
    parts: int
    step: int = 0
    evaluations: int = 0
    behind: list[Unfinished] = field(default_factory=list)
    loop: list[LoopPoint] = field(default_factory=list)

    @property
    def now(self) -> Step:
        """Return the current step of the film."""
        return self.film.protocol.steps[self.step]

    @property
    def mode(self) -> int:
        """Return the mode of the slot during the step."""
        return QUENCHING if isinstance(self.now.does, Quench) else RUNNING


@dataclass(frozen=True)
class _Finished:
    """A film taken out of its slot: the results of `Batch.take`, still on the GPU, and the slot's last report."""

    slot: _SlotState
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
        need = size * _bytes_per_cell(film)
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
        occupants: dict[int, _SlotState] = {}
        taken: list[_Finished] = []
        while occupants or taken or waiting:
            for refused, reason in self._fill(batch, occupants, waiting):
                yield failed(refused, 0, 0.0, self.device, solver, reason)
            for mode in sorted({occupant.mode for occupant in occupants.values()}):
                batch.launch(mode, max(occupant.parts for occupant in occupants.values() if occupant.mode == mode))
            # while the GPU works on the others, the finished films leave it
            yield from (self._relaxed(batch, film, solver) for film in taken)
            reports = batch.reports_now()
            ended = {slot: reports[slot] for slot in occupants if reports[slot]["mode"] != occupants[slot].mode}
            taken = self._end(batch, occupants, ended)

    def _fill(self, batch: Batch, occupants: dict[int, _SlotState], waiting: deque[Film]) -> list[tuple[Film, str]]:
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
                occupants[slot] = _SlotState(film, time.perf_counter(), int(record["parts"]))
                new[slot] = record
        if new:
            batch.begin(new)
        return refused

    def _end(self, batch: Batch, occupants: dict[int, _SlotState], ended: dict[int, np.void]) -> list[_Finished]:
        """End the step of these slots: begin the next one, or take the film out. Return the films taken out."""
        self._record(batch, {slot: occupants[slot] for slot in ended if occupants[slot].now.recorded})
        going_on, taken = {}, []
        for slot, report in ended.items():
            occupant, does = occupants[slot], occupants[slot].now.does
            used = int(report["evaluations"])
            occupant.evaluations += used
            if report["mode"] == NOT_CONVERGED and isinstance(does, Minimize):
                occupant.behind.append(Unfinished(occupant.now, float(report["torque"]), used))
            if report["mode"] != FAILED and occupant.step + 1 < len(occupant.film.protocol.steps):
                occupant.step += 1
                going_on[slot] = record = film_record(occupant.film, occupant.step)
                occupant.parts = int(record["parts"])
            else:
                del occupants[slot]
                out = batch.take(slot, int(report["buffer"]))
                taken.append(_Finished(occupant, *out, report, batch.stream.record()))
        batch.begin_next_steps(going_on, ended)
        return taken

    def _record(self, batch: Batch, occupants: dict[int, _SlotState]) -> None:
        """Add the current point to the loops of these films."""
        if occupants:
            for occupant, mean in zip(occupants.values(), batch.means(list(occupants)).tolist(), strict=True):
                occupant.loop.append(LoopPoint(occupant.film.in_stage(occupant.now.does).field, tuple(mean)))

    def _relaxed(self, batch: Batch, taken: _Finished, solver: str) -> RelaxedFilm:
        film, occupant = taken.slot.film, taken.slot
        seconds = (time.perf_counter() - occupant.start) / batch.slots
        with self.copies:
            self.copies.wait_event(taken.ready)
            m, torque2 = taken.m.get(), float(taken.torques2.get().max())
            sums = taken.sums.get().sum(axis=0) / batch.magnetic_cells * MU0 * film.Ms**2
        if taken.report["mode"] == FAILED or not np.isfinite(sums).all():
            return failed(film, occupant.evaluations, seconds, self.device, solver)
        energy = dict(zip(TERMS, sums.tolist(), strict=True))
        minimized = isinstance(occupant.now.does, Minimize)
        return RelaxedFilm(
            film=film,
            m=m,
            energy=energy | {"total": sum(energy.values())},
            max_torque=float(taken.report["torque"]) if minimized else math.sqrt(torque2),
            evaluations=occupant.evaluations,
            status="not_converged" if occupant.behind else "converged",
            reason=unfinished(film, occupant.behind),
            seconds=seconds,
            device=self.device,
            solver=solver,
            loop=tuple(occupant.loop),
        )
