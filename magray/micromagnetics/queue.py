"""Films on their way to one solver from several threads, so that its slots stay full from block to block."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future

from magray.films.film import Film
from magray.micromagnetics.result import RelaxedFilm

CELLS = 2**24  # of all slots of a GPU together: enough to fill any of today, and far from filling its memory


def slots_of(film: Film) -> int:
    """Films of this size that a GPU has in its slots."""
    return max(1, CELLS // (film.cells[0] * film.cells[1]))


class FilmQueue:
    """Films on their way to a solver, in a lane for each shape. Threads may add some while it works."""

    def __init__(self) -> None:
        self.lanes: dict[tuple[object, ...], deque[Film]] = {}
        self.open = True
        self.changed = threading.Condition()

    def add(self, films: Iterable[Film]) -> None:
        """Lets films wait."""
        with self.changed:
            for film in films:
                self.lanes.setdefault(film.shape, deque()).append(film)
            self.changed.notify()

    def close(self) -> None:
        """Says that there will be no more."""
        with self.changed:
            self.open = False
            self.changed.notify()

    def next_bucket(self) -> deque[Film] | None:
        """A lane in which films wait, once there is one; None after the last."""
        with self.changed:
            self.changed.wait_for(lambda: any(self.lanes.values()) or not self.open)
            return next((bucket for bucket in self.lanes.values() if bucket), None)


class SharedSolver:
    """A solver that several threads share: their films are in its slots together.

    serve: a solver's generator that takes films from a feed and yields them when they are done.
    """

    def __init__(self, serve: Callable[[FilmQueue], Iterator[RelaxedFilm]]) -> None:
        self.serve, self.queue = serve, FilmQueue()
        self.promised: dict[str, list[Future[RelaxedFilm]]] = {}  # by film id
        self.error: BaseException | None = None
        self.lock = threading.Lock()
        threading.Thread(target=self._work, daemon=True).start()

    def relax(self, films: Sequence[Film]) -> list[RelaxedFilm]:
        """Each film at the end of its protocol, in the order given. Raises what the solver raised."""
        futures: list[Future[RelaxedFilm]] = [Future() for _ in films]
        with self.lock:
            if self.error:
                raise self.error
            for film, future in zip(films, futures, strict=True):
                self.promised.setdefault(film.film_id, []).append(future)
        self.queue.add(films)
        return [future.result() for future in futures]

    def _work(self) -> None:
        try:
            for done in self.serve(self.queue):
                with self.lock:
                    waiting = self.promised[done.film.film_id]
                    waiting.pop(0).set_result(done)
        except BaseException as error:  # noqa: BLE001 - to the threads that wait, whatever it is
            with self.lock:
                self.error = error
                for futures in self.promised.values():
                    for future in futures:
                        future.set_exception(error)
