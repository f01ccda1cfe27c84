"""Films by turns: a device that cannot hold all training films shows one window of them after the other.

A window lies in one half of the device's room for films; meanwhile a thread fills the other half with the next one, of
this epoch or the following. The room itself stays where it is, since recorded steps know it by its address.

Knows nothing of Ray.
"""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import count, cycle, pairwise
from threading import Event
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

FilmChunk = tuple[
    NDArray[np.int64], NDArray[np.uint8]
]  # places of films among all (m,), and their pictures (m, ny, nx)
STAGED_BYTES = 2**25  # that go to the device at once


class PrefetchBuffer:
    """Shows the films of an epoch in windows, all of which have as many films, give or take one.

    images (slots, ny, nx) uint8 and targets (slots, t): the room on the device, for two windows. values (n, t): the
    targets of all films. read: the films of an epoch in its order, each once. Close it when it is no longer needed.
    """

    def __init__(
        self,
        images: torch.Tensor,
        targets: torch.Tensor,
        values: torch.Tensor,
        read: Callable[[int], Iterator[FilmChunk]],
    ) -> None:
        self.images, self.targets, self.values, self.read = images, targets, values, read
        self.half = len(images) // 2
        self.chunks = even_chunks(len(values), self.half)
        on_gpu = images.device.type == "cuda"
        self._side = torch.cuda.Stream(images.device) if on_gpu else None  # type: ignore[no-untyped-call]
        staged = max(1, min(self.half, STAGED_BYTES // images[0].numel()))
        self._staging = torch.empty((staged, *images.shape[1:]), dtype=torch.uint8, pin_memory=on_gpu)
        self._thread = ThreadPoolExecutor(1, "films")
        self._stopping = Event()
        self._filling: Future[None] | None = None
        self._upcoming: int | None = None  # the epoch whose first window is being filled

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._thread.shutdown()

    def shown(self, epoch: int) -> Iterator[int]:
        """The windows of an epoch: where its first film is. A window stays until the next one is asked for.

        Raises what `read` raises.
        """
        if self._upcoming != epoch:
            self._stop()
            self._start(epoch)
        self._upcoming = None  # until all of this one has been shown
        for _ in self.chunks:
            yield self._turn()
        self._upcoming = epoch + 1

    def _start(self, epoch: int) -> None:
        self._stopping.clear()
        self._parts = self._endlessly(epoch)
        self._rest: FilmChunk = (np.empty(0, np.int64), np.empty((0, *self.images.shape[1:]), np.uint8))
        self._sizes = cycle(self.chunks)
        self._place = 0
        self._fill_next()

    def _turn(self) -> int:
        """The place of the window that is being filled, once it is there. Then the other half's turn begins."""
        assert self._filling is not None
        self._filling.result()
        here, self._place = self._place, self.half - self._place
        self._fill_next()
        return here

    def _fill_next(self) -> None:
        learned = None
        if self._side is not None:
            learned = torch.cuda.Event()  # type: ignore[no-untyped-call]
            learned.record(torch.cuda.current_stream(self.images.device))
        self._filling = self._thread.submit(self._fill, self._place, next(self._sizes), learned)

    def _fill(self, place: int, films: int, learned: torch.cuda.Event | None) -> None:
        """Put the next films into the slots from `place` on, after the steps that still learn from those there."""
        with torch.cuda.stream(self._side):
            if self._side is not None and learned is not None:
                self._side.wait_event(learned)
            end = place + films
            while place < end and not self._stopping.is_set():
                which, pictures = self._some(end - place)
                staged = self._staging[: len(which)]
                staged.numpy()[...] = pictures
                slots = slice(place, place + len(which))
                self.images[slots].copy_(staged)
                self.targets[slots].copy_(self.values[torch.from_numpy(which)])
                place += len(which)

    def _some(self, most: int) -> FilmChunk:
        """At least one film and at most so many, as they come."""
        while not len(self._rest[0]):
            self._rest = next(self._parts)
        films, pictures = self._rest
        taken = min(most, len(self._staging))
        self._rest = films[taken:], pictures[taken:]
        return films[:taken].copy(), pictures[:taken]

    def _endlessly(self, epoch: int) -> Generator[FilmChunk, None, None]:
        for following in count(epoch):
            yield from self.read(following)

    def _stop(self) -> None:
        """End the reading, wherever it is."""
        if self._filling is not None:
            self._stopping.set()
            wait([self._filling])
            self._filling = None
            self._parts.close()


def even_chunks(films: int, most: int) -> tuple[int, ...]:
    """The sizes of the fewest windows of `most` films at most, as equal as they can be."""
    chunks = -(-films // most)
    bounds = [films * i // chunks for i in range(chunks + 1)]
    return tuple(end - start for start, end in pairwise(bounds))
