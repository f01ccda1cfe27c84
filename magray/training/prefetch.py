"""Double-buffered streaming of films that exceed a device's memory.

A chunk of films occupies one half of a buffer on the device while a thread fills the other half with the next chunk, of
this epoch or the following one. The buffer is never reallocated, because CUDA graphs hold its address.
"""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import count, cycle, pairwise
from threading import Event
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

FilmChunk = tuple[NDArray[np.int64], NDArray[np.uint8]]  # numbers of films (m,), and their pictures (m, ny, nx)
STAGED_BYTES = 2**25  # that are copied to the device at once


class PrefetchBuffer:
    """A buffer that holds the films of an epoch chunk by chunk; the sizes of chunks differ by one film at most.

    images (slots, ny, nx) uint8 and targets (slots, t): the buffer on the device, with space for two chunks. values
    (n, t): the targets of all films. read: yields the films of an epoch in their order, each once. A context manager,
    whose end stops the thread.
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
        self.chunks = _even_chunks(len(values), self.half)
        on_gpu = images.device.type == "cuda"
        self._copying = torch.cuda.Stream(images.device) if on_gpu else None  # type: ignore[no-untyped-call]
        staged = max(1, min(self.half, STAGED_BYTES // images[0].numel()))
        self._staging = torch.empty((staged, *images.shape[1:]), dtype=torch.uint8, pin_memory=on_gpu)
        self._thread = ThreadPoolExecutor(1, "films")
        self._stopping = Event()
        self._filling: Future[None] | None = None
        self._upcoming: int | None = None  # the epoch whose first chunk is being loaded

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._thread.shutdown()

    def load_chunks(self, epoch: int) -> Iterator[int]:
        """Yield the position of each chunk's first film; the next request replaces the chunk.

        Raises what `read` raises.
        """
        if self._upcoming != epoch:
            self._stop()
            self._start(epoch)
        self._upcoming = None  # until all chunks of this epoch have been used
        for _ in self.chunks:
            yield self._swap()
        self._upcoming = epoch + 1

    def _start(self, epoch: int) -> None:
        self._stopping.clear()
        self._blocks = self._endless_blocks(epoch)
        self._rest: FilmChunk = (np.empty(0, np.int64), np.empty((0, *self.images.shape[1:]), np.uint8))
        self._sizes = cycle(self.chunks)
        self._slot = 0
        self._fill_next()

    def _swap(self) -> int:
        """Return the first slot of the chunk that is being loaded, once it is complete; start on the other half."""
        assert self._filling is not None
        self._filling.result()
        loaded, self._slot = self._slot, self.half - self._slot
        self._fill_next()
        return loaded

    def _fill_next(self) -> None:
        """Have the thread load the next chunk, after the steps on the GPU that still use the slots."""
        slots_used = None
        if self._copying is not None:
            slots_used = torch.cuda.Event()  # type: ignore[no-untyped-call]
            slots_used.record(torch.cuda.current_stream(self.images.device))
        self._filling = self._thread.submit(self._fill, self._slot, next(self._sizes), slots_used)

    def _fill(self, slot: int, films: int, slots_used: torch.cuda.Event | None) -> None:
        """Load the next films into the slots from `slot` on, after the event `slots_used`."""
        with torch.cuda.stream(self._copying):
            if self._copying is not None and slots_used is not None:
                self._copying.wait_event(slots_used)
            end = slot + films
            while slot < end and not self._stopping.is_set():
                numbers, pictures = self._next_films(end - slot)
                staged = self._staging[: len(numbers)]
                staged.numpy()[...] = pictures
                slots = slice(slot, slot + len(numbers))
                self.images[slots].copy_(staged)
                self.targets[slots].copy_(self.values[torch.from_numpy(numbers)])
                slot += len(numbers)

    def _next_films(self, at_most: int) -> FilmChunk:
        """Return between one and `at_most` further films, as many as the block at hand has."""
        while not len(self._rest[0]):
            self._rest = next(self._blocks)
        films, pictures = self._rest
        taken = min(at_most, len(self._staging))
        self._rest = films[taken:], pictures[taken:]
        return films[:taken].copy(), pictures[:taken]

    def _endless_blocks(self, epoch: int) -> Generator[FilmChunk, None, None]:
        """Yield the films of an epoch and of all that follow."""
        for following in count(epoch):
            yield from self.read(following)

    def _stop(self) -> None:
        """Stop loading, and close the reader."""
        if self._filling is not None:
            self._stopping.set()
            wait([self._filling])
            self._filling = None
            self._blocks.close()


def _even_chunks(films: int, at_most: int) -> tuple[int, ...]:
    """Return the sizes of the smallest number of nearly equal chunks of `at_most` films or fewer."""
    chunks = -(-films // at_most)
    bounds = [films * i // chunks for i in range(chunks + 1)]
    return tuple(end - start for start, end in pairwise(bounds))
