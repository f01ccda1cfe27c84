"""A queue of films from several threads to one solver, whose slots stay full from block to block."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future

from magray.films.film import Film
from magray.micromagnetics.result import RelaxedFilm

CELLS = 2**24  # of all slots of a GPU together: enough for its cores, and far less than its memory holds


def slots_of(film: Film) -> int:
    """Return how many films of this size a GPU relaxes at once."""
    return max(1, CELLS // (film.cells[0] * film.cells[1]))


class FilmQueue:
    """A queue of films for a solver, with a bucket for each shape. Threads may add films while it works."""

    def __init__(self) -> None:
        self.buckets: dict[tuple[object, ...], deque[Film]] = {}
        self.open = True
        self.changed = threading.Condition()

    def add(self, films: Iterable[Film]) -> None:
        """Add films to the queue."""
        with self.changed:
            for film in films:
                self.buckets.setdefault(film.shape, deque()).append(film)
            self.changed.notify()

    def close(self) -> None:
        """Declare that no more films will be added."""
        with self.changed:
            self.open = False
            self.changed.notify()

    def next_bucket(self) -> deque[Film] | None:
        """Wait for films and return their bucket; None once the queue is closed and empty."""
        with self.changed:
            self.changed.wait_for(lambda: any(self.buckets.values()) or not self.open)
            return next((bucket for bucket in self.buckets.values() if bucket), None)


class SharedSolver:
    """A solver that several threads share, with their films in its slots together.

    serve: a solver's generator that takes films from a queue and yields them when they are done.
    """

    def __init__(self, serve: Callable[[FilmQueue], Iterator[RelaxedFilm]]) -> None:
        self.serve, self.queue = serve, FilmQueue()
        self.promised: dict[str, list[Future[RelaxedFilm]]] = {}  # by film id
        self.error: BaseException | None = None
        self.lock = threading.Lock()
        threading.Thread(target=self._work, daemon=True).start()

    def relax(self, films: Sequence[Film]) -> list[RelaxedFilm]:
        """Return each film at the end of its protocol, in the order given. Raises any error of the solver."""
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
        except BaseException as error:  # noqa: BLE001 - any error is for the waiting threads
            with self.lock:
                self.error = error
                for futures in self.promised.values():
                    for future in futures:
                        future.set_exception(error)
