"""Putting files in the place of others: safe against a kill at any moment, and against readers at the same time.

Who calls these has the store's lease, since two that replace files at once would undo each other's work.
"""

import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from magray.store.journal import Journal, settle
from magray.store.location import Location
from magray.store.parquet import file_name, open_parquet, parquet
from magray.store.retry import RETRY_SECONDS
from magray.store.schema import STORE_SCHEMA
from magray.store.store import Store, columns_of, reading

# films that are rewritten in one replacement: each makes readers at that moment begin again, so that few are kind
GROUP_FILMS = 1024


def replace(location: Location, old: list[str], content: pa.Buffer, film_ids: list[str]) -> None:
    """Puts one file with `content`, which holds the films `film_ids`, in the place of the files `old`.

    Where no films are left, no file is. Raises UserError as Location.write does; the old files are there then.
    """
    into = [file_name(film_ids)] if film_ids else []
    journal = Journal.begin(location, old, into)
    for name in into:
        location.write(name, content, RETRY_SECONDS)
        _flush(location, name)
    journal.finish(location)


def merge(location: Location, files: list[str], forget: str = "") -> tuple[pa.Buffer, list[str]]:
    """The content of one file with the rows of `files`, but for those whose status is `forget`, and its films' ids.

    Raises OSError or pa.ArrowException if a file cannot be read or does not match its checksums.
    """
    ids: list[str] = []

    def rows() -> Iterator[pa.Table]:
        for name in files:
            with open_parquet(location, name, checked=True) as file:
                for group in range(file.num_row_groups):
                    table = location.retry(partial(columns_of, file, STORE_SCHEMA.names, [group]), RETRY_SECONDS)
                    table = table.filter(pc.not_equal(table["status"], forget))
                    ids.extend(table["film_id"].to_pylist())
                    yield table

    return parquet(rows()), ids


def delete_failed(store: Store) -> int:
    """Removes the rows of failed films, so that the next run simulates these again. Returns how many they were.

    Raises UserError if a file cannot be read or written; run it again for the rest.
    """
    settle(store.location)

    def count(_: str, file: pq.ParquetFile) -> tuple[int, int]:
        status = columns_of(file, ["status"])["status"]
        return len(status), pc.sum(pc.equal(status, "failed")).as_py() or 0

    with reading(store.uri):
        files = store.files()
        counts = dict(zip(files, store.scan(files, count), strict=True))
        hit = [(name, films) for name, (films, failed) in counts.items() if failed]
        for group in groups_of(hit, GROUP_FILMS):
            replace(store.location, group, *merge(store.location, group, forget="failed"))
    return sum(failed for _, failed in counts.values())


def groups_of(files: Iterable[tuple[str, int]], films: int) -> Iterator[list[str]]:
    """Files, given with their numbers of films, in groups that together have `films` or just more; the last may not."""
    group: list[str] = []
    together = 0
    for name, count in files:
        group.append(name)
        together += count
        if together >= films:
            yield group
            group, together = [], 0
    if group:
        yield group


def _flush(location: Location, name: str) -> None:
    """Before the old files go, a local disk must hold the new one: it may lose its power at any time."""
    if location.local:
        for path in (Path(location.file(name)), Path(location.path)):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
