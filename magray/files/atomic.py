"""Write files and folders so that they appear whole or not at all, and read tables while they may be written."""

import glob
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from magray.errors import UserError, in_words, one_line
from magray.files.parquet import metadata_of, open_plain, read_plain

UNFINISHED = ".unfinished"  # ends the name of a file that is being written; a dot begins it


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which becomes `path` at the end, replacing what was there, or is removed on an error.

    Of processes that write the same file at the same time, the last one's stays. Who may read it is a matter of the
    umask, as for any other file; some libraries make files that their owner alone can read.
    """
    unfinished = _unfinished(path)
    try:
        unfinished.touch()
        permissions = unfinished.stat().st_mode
        yield unfinished
        unfinished.chmod(permissions)
        unfinished.replace(path)
    except OSError as error:
        error.filename = str(path)  # which PyArrow does not give
        raise
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to write to, which becomes `path` at the end, or is removed on an error.

    Raises OSError if `path` is not new or empty at the end.
    """
    unfinished = _unfinished(path)
    try:
        unfinished.mkdir()
        yield unfinished
        unfinished.replace(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _unfinished(path: Path) -> Path:
    """Return the path under which this process writes `path`. What killed processes left of it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.{glob.escape(platform.node())}.*{UNFINISHED}"):
        pid = left.name.removesuffix(UNFINISHED).rpartition(".")[2]
        if pid.isdecimal() and not left.is_symlink() and not _lives(int(pid)):
            _remove(left)
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}{UNFINISHED}")


def _remove(left: Path) -> None:
    if left.is_dir():
        shutil.rmtree(left, ignore_errors=True)
    else:
        left.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table as a Parquet file, whole or not at all."""
    # a file and not its path, which pyarrow would take for an address if it begins as in a:/b
    with atomic_write(path) as unfinished, pa.OSFile(str(unfinished), "wb") as file:
        pq.write_table(table, file, compression="zstd")


def read_table(
    path: Path,
    schema: pa.Schema,
    columns: list[str] | None = None,
    filters: pc.Expression | None = None,
    each: Callable[[pa.Table], pa.Table] = lambda rows: rows,
) -> pa.Table:
    """Return the rows of a Parquet file with the columns of `schema`, or those of them that are named in `columns`.

    They are as they were at one moment, while another process may put a new file in its place. The notes in the file's
    metadata come along. each: what is made of a row group before the next one is read.
    Raises UserError if there is no such file, or it is damaged or has other columns.
    """
    with _opened(path) as file:
        groups = [each(schema.empty_table().select(columns or schema.names))]
        for group in range(file.num_row_groups):
            rows = read_plain(file, schema, [group])
            rows = rows if filters is None else rows.filter(filters)
            groups.append(each(rows.select(columns or schema.names)))
        return pa.concat_tables(groups).replace_schema_metadata(metadata_of(file))


def read_notes(path: Path) -> dict[bytes, bytes]:
    """Return the notes in a Parquet file's metadata. Raises UserError as `read_table`."""
    with _opened(path) as file:
        return metadata_of(file)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file once: to open it anew for the rows might find another one."""
    try:
        with pa.OSFile(str(path)) as file:
            yield open_plain(file)
    except FileNotFoundError as error:
        raise UserError(f"there is no {path}; make it first") from error
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno:  # the system refuses; a damaged file has no number
            error.filename = str(path)
            raise UserError(in_words(error)) from error
        raise UserError(f"{path} cannot be read: {one_line(error)}; move it away and make it again") from error
