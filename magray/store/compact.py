"""Merge the small files of a campaign into few large ones, which every reader opens faster; and delete failed films.

A compaction writes a new generation of files and then makes it the one that counts; see layout.py. Whoever calls these
functions has the store's lease.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from magray.errors import UserError
from magray.store.layout import FAILED, Note, holds_failed, path_of, remove_leftovers
from magray.store.location import Location
from magray.store.parquet import ROW_GROUP_FILMS, bounded_map, file_name, open_parquet, parquet
from magray.store.retry import RETRY_SECONDS
from magray.store.schema import STORE_SCHEMA
from magray.store.store import ROW_BYTES, Store, columns_of, reading

# of pictures and scalars before compression; relaxed pictures shrink to a third, so that files have some 80 MB
FILE_BYTES = 256 * 2**20
_WRITERS = 2  # files compressed at once, each with its rows in memory


@dataclass(frozen=True)
class Compaction:
    """The number of files before a compaction and after it."""

    before: int
    after: int


def compact(store: Store, films_per_file: int | None = None) -> Compaction:
    """Merge files that hold less than half of `films_per_file` films into files of about as many.

    films_per_file: None for what fills FILE_BYTES. A store that is compact is left as it is. Needs room for all files
    once more, and memory for a few. Killed at any moment, it leaves a store that reads as before and can be compacted
    again. Raises UserError if a file is damaged or cannot be written, or a film is there twice.
    """
    if films_per_file is not None and films_per_file < 1:
        raise UserError(f"films per file must be 1 or more, not {films_per_file}")
    store = store.begin_writing()
    with reading(store.uri):
        generation, files = store.generation, store.files()
        failed = [name for name in files if holds_failed(name)]
        groups = _groups(store, [name for name in files if name not in failed], films_per_file)
        films = store.films_in(files)
        _check_once(store, films)
        if generation and len(failed) <= 1 and all(len(group) == 1 for group in groups):
            return Compaction(len(files), len(files))
        _check_room(store.location, files)
        try:
            after = _write_generation(store, generation + 1, groups, failed)
            if store.films_in(after) != films:
                raise UserError(f"store {store.uri} could not be compacted: films are lacking; it is as it was before")
        except BaseException:
            remove_leftovers(store.location, generation)
            raise
        Note(store.campaign, store.planned, generation + 1).write(store.location)
        remove_leftovers(store.location, generation + 1)
    return Compaction(len(files), len(after))


def delete_failed(store: Store) -> int:
    """Delete the rows of failed films, so that the next run simulates these again. Return their number.

    Raises UserError if a file cannot be read or written; run it again for the rest.
    """
    films = int(store.table(["status"], pc.field("status") == "failed").num_rows)
    if films and store.generation == 0:
        compact(store)  # in format 2, failed films lie among the others
    for name in store.files():
        if holds_failed(name):
            store.location.remove(name)
    return films


def _groups(store: Store, files: list[str], films_per_file: int | None) -> list[list[str]]:
    """Return groups of files, each of which becomes one; a file that is large enough is a group of its own."""
    sizes = _films_and_bytes(store, files)
    films, size = (sum(numbers) for numbers in zip(*sizes, strict=True)) if sizes else (0, 0)
    wanted = films_per_file or max(FILE_BYTES * films // max(size, 1), ROW_GROUP_FILMS)
    counts = [(name, count) for name, (count, _) in zip(files, sizes, strict=True)]
    large = [[name] for name, count in counts if 2 * count >= wanted]
    return large + list(_groups_of([(name, count) for name, count in counts if 2 * count < wanted], wanted))


def _groups_of(files: Iterable[tuple[str, int]], films: int) -> Iterator[list[str]]:
    """Yield files, given with their numbers of films, in groups of `films` or just more; the last may have fewer."""
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


def _films_and_bytes(store: Store, files: list[str]) -> list[tuple[int, int]]:
    """Return, for each file, its films and the bytes of their pictures and scalars before compression."""

    def read(_: str, file: pq.ParquetFile) -> tuple[int, int]:
        size = columns_of(file, ["height", "width"])
        pixels = pc.sum(pc.multiply(*(size[name].cast(pa.int64()) for name in size.column_names))).as_py() or 0
        return size.num_rows, pixels + size.num_rows * ROW_BYTES

    return list(store.scan(files, read))


def _check_once(store: Store, films: int) -> None:
    different = pc.count_distinct(store.ids()).as_py()
    if different != films:
        raise UserError(
            f"store {store.uri} holds {films - different} films more than once; `magray store verify` names them: "
            "delete one of the files of each, then compact"
        )


def _check_room(location: Location, files: list[str]) -> None:
    free = location.free_bytes()
    if free is not None:
        needed = sum(info.size or 0 for info in location.filesystem.get_file_info([*map(location.file, files)]))
        if needed > free:
            raise UserError(
                f"no room to compact: the store is written anew and may need {needed / 1e9:.3g} GB, and "
                f"{free / 1e9:.3g} GB are free at {location.uri}; free some space"
            )


def _write_generation(store: Store, generation: int, groups: list[list[str]], failed: list[str]) -> list[str]:
    """Write a new generation: a file for each group, and one for all films that failed. Return their paths."""
    found = list(bounded_map(partial(_rewrite, store.location, generation), groups, _WRITERS))
    rows = pa.concat_tables(
        [
            STORE_SCHEMA.empty_table(),
            *(rows for _, rows in found),
            *store.scan(failed, lambda _, file: columns_of(file, STORE_SCHEMA.names)),
        ]
    ).sort_by("film_id")
    written = [path for path, _ in found if path]
    if rows.num_rows:
        written.append(path_of(generation, file_name(rows["film_id"].to_pylist(), FAILED)))
        store.location.write(written[-1], parquet([rows]), RETRY_SECONDS)
        store.location.flush(written[-1])
    return written


def _rewrite(location: Location, generation: int, files: list[str]) -> tuple[str, pa.Table]:
    """Write the films of some files into one of a generation. Return its path, and the rows of films that failed.

    A file alone is copied. Raises OSError or pa.ArrowException if a file cannot be read or does not match its
    checksums.
    """
    folder, _, name = files[0].rpartition("/")
    failed = [STORE_SCHEMA.empty_table()]
    if len(files) == 1 and folder:
        path = path_of(generation, name)
        location.copy(files[0], path)
    else:
        ids: list[str] = []
        content = parquet(_finished_rows(location, files, ids, failed))
        path = path_of(generation, file_name(ids)) if ids else ""
        if ids:
            location.write(path, content, RETRY_SECONDS)
    if path:
        location.flush(path)
    return path, pa.concat_tables(failed)


def _finished_rows(location: Location, files: list[str], ids: list[str], failed: list[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows of films that did not fail, and add their ids to `ids`, the other rows to `failed`."""
    for name in files:
        with open_parquet(location, name, checked=True) as file:
            for group in range(file.num_row_groups):
                rows = location.retry(partial(columns_of, file, STORE_SCHEMA.names, [group]), RETRY_SECONDS)
                wrong = pc.equal(rows["status"], "failed")
                failed.append(rows.filter(wrong))
                rows = rows.filter(pc.invert(wrong))
                ids.extend(rows["film_id"].to_pylist())
                yield rows
