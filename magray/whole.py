"""Files that appear whole or not at all, whatever happens while they are written, and tables read while they are."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path to write to, which becomes `path` at the end, replacing what was there; or goes, on an error.

    Of processes that write the same file at the same time, the last one's stays. Who may read it is a matter of the
    umask, as for any other file; some libraries make files that their owner alone can read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        unfinished.touch()
        permissions = unfinished.stat().st_mode
        yield unfinished
        unfinished.chmod(permissions)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_table(table: pa.Table, path: Path) -> None:
    """A table as a Parquet file, whole or not at all."""
    with whole_file(path) as unfinished:
        pq.write_table(table, unfinished, compression="zstd")


def read_table(path: Path, columns: list[str] | None = None, filters: pc.Expression | None = None) -> pa.Table:
    """A Parquet file as it was at one moment, while another process may put a new one in its place.

    Raises OSError or pyarrow.ArrowInvalid if there is none. PyArrow given a path opens it twice, for the schema and for
    the rows, and may find another file the second time.
    """
    with path.open("rb") as file:
        return pq.read_table(file, columns=columns, filters=filters)
