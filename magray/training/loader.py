"""A loader that reads a store's training films in the order of an epoch, by Ray Data, while the fit goes on.

Row groups are shuffled, and so are the films in each: a store is read by whole row groups. The order depends on the
seed, the epoch and the files of the store only. Reading reserves no core in Ray, since the fit may hold all of them,
and films that wait in Ray's object store are limited to what was asked for.
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

ORDER_SEED = 2  # distinguishes the generator of an epoch's order from those of its crops
TASK_BYTES = 2**24  # of pictures that a task reads, or a row group if that is larger
MAX_BYTES = 2**29  # of pictures in flight
READERS = 8  # tasks at a time, on machines with as many cores
RUN = 256  # tasks that are given to Ray Data at a time: it takes many seconds to accept thousands


def epoch_films(
    store_uri: str, row_index: pa.Table, shape: tuple[int, int], key: tuple[int, int], capacity: int
) -> Generator[FilmChunk, None, None]:
    """Yield the films of `row_index` in the order of the epoch `key` (seed, epoch), some at a time.

    shape: (ny, nx) of the pictures. capacity: about the largest number of films in flight, which take at most 512 MiB.
    Raises UserError if the store cannot be read.
    """
    size = shape[0] * shape[1]
    max_bytes = min(capacity * size, MAX_BYTES)
    shuffled = _shuffled(row_index, key)
    group_bytes = size * len(shuffled["films"].combine_chunks().flatten()) / shuffled.num_rows
    groups_per_task = max(1, int(min(TASK_BYTES, max_bytes / 4) / group_bytes))
    for first in range(0, shuffled.num_rows, RUN * groups_per_task):
        for block in _read(store_uri, shuffled.slice(first, RUN * groups_per_task), groups_per_task, max_bytes):
            yield block["film"].to_numpy(), _pictures(block["image"], shape)


def _shuffled(row_index: pa.Table, key: tuple[int, int]) -> pa.Table:
    """Return the same films in the order of the epoch `key` (seed, epoch)."""
    random = np.random.default_rng((*key, ORDER_SEED))
    order = random.permutation(row_index.num_rows)
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    rows, films = (row_index[name].combine_chunks() for name in ("rows", "films"))
    group = np.repeat(ranks, rows.value_lengths().to_numpy())
    within = np.lexsort((random.random(len(group)), group))
    shuffled = row_index.take(order)
    ends = pa.array(np.cumsum([0, *shuffled["rows"].combine_chunks().value_lengths().to_numpy()]), pa.int32())
    for name, lists in (("rows", rows), ("films", films)):
        values = pa.ListArray.from_arrays(ends, lists.flatten().take(within))
        shuffled = shuffled.set_column(shuffled.schema.get_field_index(name), name, values)
    return shuffled


def _read(store_uri: str, row_index: pa.Table, groups_per_task: int, max_bytes: int) -> Iterator[pa.Table]:
    """Yield blocks of films in order, with at most `max_bytes` of them in flight."""
    # from_arrow would inspect the table in tasks that need a core
    tasks = ray.data.from_items(row_index.to_pylist(), override_num_blocks=-(-row_index.num_rows // groups_per_task))
    tasks.context.enable_progress_bars = False
    options = tasks.context.execution_options
    options.preserve_order = True
    options.resource_limits = options.resource_limits.copy(object_store_memory=max_bytes)
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
            raise UserError(str(error.cause).partition("\n")[0]) from None  # Ray Data appends advice
        raise


def _pictures(column: pa.ChunkedArray, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the pictures (m, ny, nx) of a column of bytes, without a copy of each."""
    array = column.combine_chunks()
    _, offsets, pixels = array.buffers()
    first, end = np.frombuffer(offsets, np.int32)[[array.offset, array.offset + len(array)]]
    return np.frombuffer(pixels, np.uint8)[first:end].reshape(-1, *shape)
