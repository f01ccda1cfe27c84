"""Name, write and open the Parquet files of a store, many of them at once."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from magray.files.parquet import open_plain
from magray.store.location import Location
from magray.store.schema import SCALARS, STORE_SCHEMA

ROW_GROUP_FILMS = 128
# a local disk is bound by decoding, an object store by its answering times
LOCAL_READERS, REMOTE_READERS = 4, 32

_Thing = TypeVar("_Thing")
_Answer = TypeVar("_Answer")


def file_name(film_ids: Sequence[str], kind: str = "films") -> str:
    """Return the name of the file that holds exactly these films; `kind` begins it."""
    return f"{kind}-{hashlib.sha256(','.join(sorted(film_ids)).encode()).hexdigest()[:24]}.parquet"


def parquet(tables: Iterable[pa.Table]) -> pa.Buffer:
    """Return a file with the rows of `tables`, each of STORE_SCHEMA. Memory holds only what is compressed."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        STORE_SCHEMA,
        compression="zstd",
        use_dictionary=SCALARS,
        write_statistics=SCALARS,
        write_page_checksum=True,
    ) as writer:
        for table in _full_groups(tables):
            writer.write_table(table, row_group_size=ROW_GROUP_FILMS)
    return sink.getvalue()


def _full_groups(tables: Iterable[pa.Table], films: int = ROW_GROUP_FILMS) -> Iterator[pa.Table]:
    """Yield the same rows in the same order, in tables of `films` rows; the last one may have fewer."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        while sum(part.num_rows for part in waiting) >= films:
            rows = pa.concat_tables(waiting)
            yield rows.slice(0, films)
            waiting = [rows.slice(films)]
    if any(part.num_rows for part in waiting):
        yield pa.concat_tables(waiting)


def large_batches(tables: Iterable[pa.Table], films: int) -> Iterator[pa.Table]:
    """Yield the same rows in the same order, in tables of at least `films` rows; the last one may have fewer."""
    waiting: list[pa.Table] = []
    together = 0
    for table in tables:
        waiting.append(table)
        together += table.num_rows
        if together >= films:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting, together = [], 0
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


@contextmanager
def open_parquet(location: Location, name: str, checked: bool = False) -> Iterator[pq.ParquetFile]:
    """Open a file of a location. checked: what is read from it is held against its checksums.

    Raises OSError or pa.ArrowException if it cannot be read.
    """
    with location.filesystem.open_input_file(location.file(name)) as file:
        yield open_plain(file, checked, pre_buffer=not location.local)


def readers(location: Location) -> int:
    """Return the number of files that are worth reading at once."""
    return LOCAL_READERS if location.local else REMOTE_READERS


def bounded_map(work: Callable[[_Thing], _Answer], things: Iterable[_Thing], threads: int) -> Iterator[_Answer]:
    """Yield `work` of each thing, in their order, by `threads` at once, never far ahead of the consumer."""
    pool = ThreadPoolExecutor(threads)
    pending: deque[Future[_Answer]] = deque()
    try:
        for thing in things:
            pending.append(pool.submit(work, thing))
            if len(pending) >= 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
