"""Training films of a store in the order of an epoch, read by Ray Data while a fit learns from those before.

The order is that of row groups, shuffled, and of the films in each, shuffled too: whole row groups are what a store can
be read by, and neighbours still change from epoch to epoch. It depends on the seed, the epoch and the store's files
alone. Reading takes no core of Ray's books, all of which the fit itself may hold, and no more is on its way than asked
for: what waits is in Ray's object store.
"""

from collections.abc import Generator, Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import ray.data
from numpy.typing import NDArray
from ray.data import TaskPoolStrategy
from ray.exceptions import RayTaskError

from magray.environment import cores
from magray.errors import UserError
from magray.store.store import read_row_index
from magray.training.prefetch import FilmChunk

ORDER = 2  # sets the generator of an epoch's order apart from those of its cuts
TASK_BYTES = 2**24  # of pictures: what a task reads, or a row group if that is more
MOST_BYTES = 2**29  # on their way
READERS = 8  # tasks at a time, on machines with as many cores
RUN = 256  # tasks that Ray Data is told of at a time: to tell it of thousands takes it many seconds


def epoch_films(
    store_uri: str, row_index: pa.Table, shape: tuple[int, int], key: tuple[int, int], capacity: int
) -> Generator[FilmChunk, None, None]:
    """The films of `pieces` in the order of the epoch `key` (seed, epoch), some at a time.

    shape: (ny, nx) of the pictures. room: of films, those on their way: at most about so many of them, or 512 MiB.
    Raises UserError if the store cannot be read.
    """
    size = shape[0] * shape[1]
    capacity = min(capacity * size, MOST_BYTES)
    ordered = shuffled(row_index, key)
    mean = size * len(ordered["films"].combine_chunks().flatten()) / ordered.num_rows
    together = max(1, int(min(TASK_BYTES, capacity / 4) / mean))
    for first in range(0, ordered.num_rows, RUN * together):
        for block in _read(store_uri, ordered.slice(first, RUN * together), together, capacity):
            yield block["film"].to_numpy(), _pictures(block["image"], shape)


def shuffled(row_index: pa.Table, key: tuple[int, int]) -> pa.Table:
    """The same films in the order of an epoch (seed, epoch)."""
    random = np.random.default_rng((*key, ORDER))
    order = random.permutation(row_index.num_rows)
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    rows, films = (row_index[name].combine_chunks() for name in ("rows", "films"))
    piece = np.repeat(ranks, rows.value_lengths().to_numpy())
    within = np.lexsort((random.random(len(piece)), piece))
    taken = row_index.take(order)
    ends = pa.array(np.cumsum([0, *taken["rows"].combine_chunks().value_lengths().to_numpy()]), pa.int32())
    for name, lists in (("rows", rows), ("films", films)):
        values = pa.ListArray.from_arrays(ends, lists.flatten().take(within))
        taken = taken.set_column(taken.schema.get_field_index(name), name, values)
    return taken


def _read(store_uri: str, row_index: pa.Table, together: int, capacity: int) -> Iterator[pa.Table]:
    """Yield the blocks of films in order, `together` to a task, with at most `capacity` bytes in flight."""
    # tables would be looked at by tasks that want a core
    tasks = ray.data.from_items(row_index.to_pylist(), override_num_blocks=-(-row_index.num_rows // together))
    tasks.context.enable_progress_bars = False
    options = tasks.context.execution_options
    options.preserve_order = True
    options.resource_limits = options.resource_limits.copy(object_store_memory=capacity)
    films = tasks.map_batches(
        partial(read_row_index, store_uri=store_uri),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=0,
        compute=TaskPoolStrategy(size=max(2, min(cores(), READERS))),
    )
    try:
        yield from films.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
    except RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(str(error.cause).partition("\n")[0]) from None  # Ray Data adds lines of advice
        raise


def _pictures(column: pa.ChunkedArray, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Pictures (m, ny, nx) as they lie in memory, one after the other."""
    whole = column.combine_chunks()
    _, offsets, pixels = whole.buffers()
    first, end = np.frombuffer(offsets, np.int32)[[whole.offset, whole.offset + len(whole)]]
    return np.frombuffer(pixels, np.uint8)[first:end].reshape(-1, *shape)
