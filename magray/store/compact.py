"""Merging the small files of a campaign into few large ones, which every reader opens faster."""

from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from magray.errors import UserError
from magray.store.journal import settle
from magray.store.parquet import ROW_GROUP_FILMS, bounded_map
from magray.store.replace import groups_of, merge, replace
from magray.store.store import ROW_BYTES, Store, columns_of, reading

# of pictures and scalars before compression; relaxed pictures shrink to a third, so that files have some 80 MB
FILE_BYTES = 256 * 2**20
WRITERS = 2  # files compressed at once, each with its rows in memory


@dataclass(frozen=True)
class Compaction:
    """What a compaction did: the number of files before and after it."""

    before: int
    after: int


def compact(store: Store, films_per_file: int | None = None) -> Compaction:
    """Merges files that hold less than half of `films_per_file` films into files of about as many.

    films_per_file: None for what fills FILE_BYTES. A store that is compact is left as it is. Needs room for one more
    file, and memory for a few. Killed at any moment, it leaves a store that reads as before and can be compacted again.
    The caller has the store's lease.
    Raises UserError if a file is damaged or cannot be written, or a film is there twice.
    """
    if films_per_file is not None and films_per_file < 1:
        raise UserError(f"films per file must be 1 or more, not {films_per_file}")
    settle(store.location)
    with reading(store.uri):
        files = store.files()
        sizes = _films_and_bytes(store, files)
        films, size = (sum(numbers) for numbers in zip(*sizes, strict=True)) if sizes else (0, 0)
        _check_once(store, films)
        wanted = films_per_file or max(FILE_BYTES * films // max(size, 1), ROW_GROUP_FILMS)
        small = [(name, count) for name, (count, _) in zip(files, sizes, strict=True) if 2 * count < wanted]
        groups = [group for group in groups_of(small, wanted) if len(group) > 1]
        merged = bounded_map(partial(merge, store.location), groups, WRITERS)
        for group, (content, ids) in zip(groups, merged, strict=True):
            replace(store.location, group, content, ids)
    return Compaction(len(files), len(files) - sum(map(len, groups)) + len(groups))


def _films_and_bytes(store: Store, files: list[str]) -> list[tuple[int, int]]:
    """Of each file: its films, and the bytes of their pictures and scalars before compression."""

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
