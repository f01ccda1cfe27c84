"""Files that appear whole or not at all, whatever happens while they are written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path to write to, which becomes `path` at the end, replacing what was there; or goes, on an error.

    Of processes that write the same file at the same time, the last one's stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_table(table: pa.Table, path: Path) -> None:
    """A table as a Parquet file, whole or not at all."""
    with whole_file(path) as unfinished:
        pq.write_table(table, unfinished, compression="zstd")
