"""Films through the slots of a batch: when one is done, the next takes its slot."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import cupy as cp
import numpy as np

from magray.errors import UserError
from magray.films.film import MU0, Film
from magray.micromagnetics.gpu.batch import FAILED, NOT_CONVERGED, RUNNING, TERMS, Batch, film_record
from magray.micromagnetics.gpu.fourier import CHUNK
from magray.micromagnetics.relaxed import RelaxedFilm, failed, unfinished

CELLS = 2**24  # in all slots together: enough to fill any GPU of today, and far from filling its memory
BYTES_PER_CELL = 180  # of all arrays, with cuFFT's own


@dataclass
class Occupant:
    """The film that a slot holds, since when, and how far it has come."""

    film: Film
    start: float
    stage: int = 0
    evaluations: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Taken:
    """A film out of its slot: copies of its m and of its energies' sums, still on the GPU; None if it failed."""

    occupant: Occupant
    m: cp.ndarray | None
    sums: cp.ndarray | None
    torque: float
    ready: cp.cuda.Event


class GpuSolver:
    """Relaxes any list of films on one GPU. Keeps its batch between lists of the same geometry."""

    def __init__(self) -> None:
        self.device = cp.cuda.runtime.getDeviceProperties(cp.cuda.Device().id)["name"].decode()
        self.copies = cp.cuda.Stream(non_blocking=True)
        self.batches: dict[tuple[object, ...], Batch] = {}

    def stream(self, films: Sequence[Film], solver: str) -> Iterator[RelaxedFilm]:
        """Each film's end state, as they finish; films of one geometry after those of another."""

        def geometry(film: Film) -> tuple[tuple[int, int], tuple[float, float, float]]:
            return film.cells, film.cell_size

        for (cells, cell_size), group in groupby(sorted(films, key=geometry), key=geometry):
            waiting = deque(group)
            yield from self._run(self._batch(cells, cell_size, len(waiting)), waiting, solver)

    def _batch(self, cells: tuple[int, int], cell_size: tuple[float, float, float], films: int) -> Batch:
        size = cells[0] * cells[1]
        room = cp.cuda.Device().mem_info[0] + cp.get_default_memory_pool().free_bytes()
        fitting = int(0.9 * room / (BYTES_PER_CELL * size)) // CHUNK * CHUNK
        wanted = max(1, min(films, CELLS // size))
        slots = -(-wanted // CHUNK) * CHUNK
        key = (cells, cell_size)
        if key not in self.batches or self.batches[key].slots < min(slots, fitting):
            self.batches.clear()
            cp.get_default_memory_pool().free_all_blocks()
            if fitting < CHUNK:
                need = CHUNK * BYTES_PER_CELL * size / 2**30
                raise UserError(
                    f"films of {cells[0]}×{cells[1]} cells need {need:.1f} GiB for {CHUNK} slots and the GPU has "
                    f"{room / 2**30:.1f} GiB free; use smaller films or another GPU"
                )
            self.batches[key] = Batch(cells, cell_size, min(slots, fitting))
        return self.batches[key]

    def _run(self, batch: Batch, waiting: deque[Film], solver: str) -> Iterator[RelaxedFilm]:
        occupants: dict[int, Occupant] = {}
        self._fill(batch, occupants, range(batch.slots), waiting)
        taken: list[Taken] = []
        while occupants or taken:
            if occupants:
                batch.launch()
            # while the GPU works on the others, the finished films leave it
            yield from (self._relaxed(batch, film, solver) for film in taken)
            reports = batch.reports_now()
            ended = {slot: reports[slot] for slot in occupants if reports[slot]["mode"] != RUNNING}
            taken = [film for slot, report in ended.items() if (film := self._end(batch, occupants, slot, report))]
            self._fill(batch, occupants, [slot for slot in ended if slot not in occupants], waiting)

    def _fill(self, batch: Batch, occupants: dict[int, Occupant], free: Sequence[int], waiting: deque[Film]) -> None:
        """Gives the free slots to films that wait."""
        new = {slot: Occupant(waiting.popleft(), time.perf_counter()) for slot in free[: len(waiting)]}
        if new:
            batch.begin({slot: film_record(new[slot].film, new[slot].film.protocol.stages[0]) for slot in new})
        occupants.update(new)

    def _end(self, batch: Batch, occupants: dict[int, Occupant], slot: int, report: np.void) -> Taken | None:
        """Ends the slot's stage. The film is taken out of its slot unless another stage is to come."""
        occupant = occupants[slot]
        occupant.evaluations += int(report["evaluations"])
        stages = occupant.film.protocol.stages
        if report["mode"] == NOT_CONVERGED:
            occupant.reason = unfinished(float(report["torque"]), int(report["evaluations"]), stages[occupant.stage])
        if report["mode"] != FAILED and occupant.stage + 1 < len(stages):
            occupant.stage += 1
            record = film_record(occupant.film, stages[occupant.stage])
            batch.begin_next_stage(slot, int(report["buffer"]), record)
            return None
        del occupants[slot]
        if report["mode"] == FAILED:
            return Taken(occupant, None, None, np.nan, batch.stream.record())
        m, sums = batch.take(slot, int(report["buffer"]))
        return Taken(occupant, m, sums, float(report["torque"]), batch.stream.record())

    def _relaxed(self, batch: Batch, taken: Taken, solver: str) -> RelaxedFilm:
        film, occupant = taken.occupant.film, taken.occupant
        seconds = (time.perf_counter() - occupant.start) / batch.slots
        if taken.m is None or taken.sums is None:
            return failed(film, occupant.evaluations, seconds, self.device, solver)
        with self.copies:
            self.copies.wait_event(taken.ready)
            m, sums = taken.m.get(), taken.sums.get().sum(axis=0) / batch.cells * MU0 * film.Ms**2
        energy = dict(zip(TERMS, sums.tolist(), strict=True))
        return RelaxedFilm(
            film=film,
            m=m,
            energy=energy | {"total": sum(energy.values())},
            max_torque=taken.torque,
            evaluations=occupant.evaluations,
            status="not_converged" if occupant.reason else "converged",
            reason=occupant.reason,
            seconds=seconds,
            device=self.device,
            solver=solver,
        )
