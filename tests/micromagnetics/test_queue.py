"""One solver that several threads share."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from magray.films import Film
from magray.micromagnetics.queue import FilmQueue, SharedSolver
from magray.micromagnetics.result import RelaxedFilm
from tests.support.specimens import co_like


def done(film: Film) -> RelaxedFilm:
    return RelaxedFilm(film, None, {}, np.nan, film.seed, "failed", "", 0.0, "none", "none")


def by_fours(queue: FilmQueue) -> Iterator[RelaxedFilm]:
    """Relax films in four slots, and end them in another order than that of the queue."""
    while (lane := queue.next_bucket()) is not None:
        time.sleep(0.001)
        slots = [lane.popleft() for _ in range(min(4, len(lane)))]
        yield from map(done, reversed(slots))


def test_every_thread_gets_its_own_films_in_its_order() -> None:
    """The same film twice as well; films of two sizes."""
    blocks = [[co_like((16 + 8 * (i % 2), 16), seed=seed) for seed in range(i, i + 7)] for i in range(20)]
    solver = SharedSolver(by_fours)
    with ThreadPoolExecutor(6) as threads:
        for block, answers in zip(blocks, threads.map(solver.relax, blocks), strict=True):
            assert [answer.film for answer in answers] == block


def test_films_of_any_cell_size_and_thickness_share_a_bucket() -> None:
    """They share a batch; films of another number of cells, or with open edges, do not."""
    queue = FilmQueue()
    cells = [(4e-9, 4e-9, 4e-9), (4e-9, 4e-9, 0.3e-9), (2e-9, 5e-9, 9e-9)]
    together = [*(co_like((16, 16), cell_size=cell) for cell in cells), co_like((16, 16), demag=False)]
    queue.add([co_like((16, 8)), *together, co_like((16, 16), open_edges="x")])
    assert list(map(list, queue.buckets.values()))[1] == together
    assert len(queue.buckets) == 3


def test_films_of_several_threads_are_in_the_slots_together() -> None:
    """Four threads with one film each: the solver sees up to four at once, though none of them has more."""
    most = 0

    def watching(queue: FilmQueue) -> Iterator[RelaxedFilm]:
        nonlocal most
        while (lane := queue.next_bucket()) is not None:
            time.sleep(0.05)
            most = max(most, len(lane))
            yield from (done(lane.popleft()) for _ in range(len(lane)))

    solver = SharedSolver(watching)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda seed: solver.relax([co_like((16, 16), seed=seed)]), range(4)))
    assert most >= 3


def test_every_thread_gets_the_error_of_a_broken_solver() -> None:
    def broken(queue: FilmQueue) -> Iterator[RelaxedFilm]:
        lane = queue.next_bucket()
        assert lane is not None
        yield done(lane.popleft())
        raise MemoryError("the GPU is full")

    solver = SharedSolver(broken)
    with pytest.raises(MemoryError, match="the GPU is full"):
        solver.relax([co_like((16, 16), seed=seed) for seed in range(3)])
    with pytest.raises(MemoryError, match="the GPU is full"):
        solver.relax([co_like((16, 16))])
