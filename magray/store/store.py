"""The store of a campaign: create or resume it, read it, and add to it one block of films at a time.

A file appears whole or not at all, and the same films always go to the same file: committing a block twice is
committing it once. The names of the files, and the note that says which of them count, are in layout.py.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from magray.errors import UserError, in_words, one_line
from magray.files.parquet import read_plain
from magray.films.film import PHYSICS_VERSION
from magray.films.plan import checked_plan
from magray.store.faults import check_rows
from magray.store.layout import (
    CAMPAIGN_FILE,
    FAILED,
    FINISHED,
    Note,
    folder_of,
    generations,
    is_film_file,
    is_ours,
    path_of,
    read_note,
    remove_leftovers,
)
from magray.store.location import Location, locate
from magray.store.parquet import bounded_map, file_name, large_batches, open_parquet, parquet, readers
from magray.store.retry import RETRY_SECONDS
from magray.store.schema import LATER, SCALARS, STORE_SCHEMA

ROW_BYTES = 2048  # of a film's scalars, generously, before compression
PICTURE = ("film_id", "status", "height", "width", "image")  # a picture, and what it is checked with
BATCH_FILMS = 50_000  # whose scalars are worked on at a time
IDS_AT_ONCE = 2_000_000  # that are looked for among others
_ROW_INDEX_SCHEMA = pa.schema(
    {"file": pa.string(), "group": pa.int32(), "rows": pa.list_(pa.int32()), "films": pa.list_(pa.int64())}
)
Split = Literal["train", "test"]

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Store:
    """An open store. Everything read from it is what is committed at that moment."""

    location: Location
    campaign: str
    planned: int  # films in the campaign's plan
    # ids by file, of the files read so far: a file's name follows from its films, so they never change
    id_cache: dict[str, pa.Array] = field(default_factory=dict, repr=False, compare=False)

    @property
    def uri(self) -> str:
        """Return the absolute path or URI, which opens the store again anywhere."""
        return self.location.uri

    @property
    def schema(self) -> pa.Schema:
        """Return the names, types and units of the columns."""
        return STORE_SCHEMA

    @property
    def glob(self) -> str:
        """Return the pattern of the committed files, for DuckDB, Polars and others. A compaction changes it."""
        place, question, options = self.uri.partition("?") if "://" in self.uri else (self.uri, "", "")
        return f"{place}/{path_of(self.generation, '*.parquet')}{question}{options}"

    @property
    def generation(self) -> int:
        """Return the current generation of files: if its record is lost, the one with most films."""
        note = read_note(self.location)
        if note is not None:
            return note.generation
        found = generations(self.location.names("", RETRY_SECONDS)) or {1}
        # a compaction that was interrupted leaves one generation whole, and a part of it as the other
        return found.pop() if len(found) == 1 else max(found, key=lambda one: self.films_in(self.files_of(one)))

    def files(self) -> list[str]:
        """Return the paths in the store of the committed files, sorted, as they are at one moment."""
        generation = self.generation
        while True:
            files = self.files_of(generation)
            before, generation = generation, self.generation
            if generation == before:  # otherwise a compaction may have been removing what was listed
                return files

    def files_of(self, generation: int) -> list[str]:
        """Return the paths in the store of the files of a generation, sorted."""
        names = self.location.names(folder_of(generation), RETRY_SECONDS)
        return [path_of(generation, name) for name in names if is_film_file(name)]

    def films_in(self, files: list[str]) -> int:
        """Return the number of films in some files, those that failed included."""
        return sum(self.scan(files, lambda _, file: int(file.metadata.num_rows)))

    def count(self) -> int:
        """Return the number of committed films."""
        return self._read(self.films_in)

    def ids(self) -> pa.ChunkedArray:
        """Return the ids of the committed films. Only files that are new since the last call are read."""
        return pa.chunked_array(self._read(self._ids_of).values(), pa.string())

    def films(self, split: Split | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the films that converged, by id: those of one split, or of both.

        columns: as in `table`. Raises UserError as `table`.
        """
        wanted = pc.field("status") == "converged"
        if split is not None:
            wanted &= pc.field("split") == split
        names = SCALARS if columns is None else list(columns)
        rows = self.table(list(dict.fromkeys([*names, "film_id"])), wanted)
        return rows.sort_by("film_id").select(names)

    def table(self, columns: Sequence[str] | None = None, filter: pc.Expression | None = None) -> pa.Table:  # noqa: A002
        """Return committed rows. `columns` None means all scalar ones. The filter names columns, not their places.

        Raises UserError for a column that does not exist, or a file that cannot be read.
        """
        names = SCALARS if columns is None else list(columns)
        unknown = [name for name in names if name not in STORE_SCHEMA.names]
        if unknown:
            raise UserError(f"a store has no column {unknown[0]}; it has {', '.join(STORE_SCHEMA.names)}")

        # pyarrow gives an expression's columns as text alone; to read one too many does no harm
        needed = [name for name in STORE_SCHEMA.names if name in str(filter)] if filter is not None else []
        wanted = list(dict.fromkeys([*names, *needed]))

        def read(files: list[str]) -> pa.Table:
            parts = self.scan(files, lambda _, file: columns_of(file, wanted))
            if filter is not None:  # many rows at a time: a filter by a million ids takes its time to be made
                parts = (rows.filter(filter).select(names) for rows in large_batches(parts, BATCH_FILMS))
            return pa.concat_tables([schema_of(names).empty_table(), *parts])

        return self._read(read)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield committed rows, a row group at a time, file after file, every byte checked: for what exceeds memory.

        Raises UserError if a file cannot be read, or a compaction removes it meanwhile.
        """
        names = self.files()
        with reading(self.uri):
            for name in names:
                with open_parquet(self.location, name, checked=True) as file:
                    for group in range(file.num_row_groups):
                        yield self.location.retry(partial(columns_of, file, columns, [group]), RETRY_SECONDS)

    def images(self, ids: Sequence[str]) -> NDArray[np.uint8]:
        """Return the pictures of films of one size, in the order of `ids`: (n, ny, nx) uint8, mz −1…1 as 0…255.

        Only the row groups that hold these films are read. Raises UserError if a film is not committed, has no picture,
        or differs in size from the others.
        """
        wanted = pa.array([str(film_id) for film_id in ids], pa.string())
        if len(wanted.unique()) != len(wanted):
            raise UserError("images: an id is given twice; give each film once")
        return self._read(lambda files: self._images(self._places(files, wanted), wanted))

    def row_index(self, ids: Sequence[str]) -> pa.Table:
        """Return the places of films: for each row group that holds any of them its `file`, `group`, `rows`, `films`.

        rows: of the films in the group. films: their places in `ids`, each of which is given once.
        Raises UserError if a film is not committed.
        """
        wanted = pa.array(ids, pa.string())

        def find(files: list[str]) -> pa.Table:
            places = self._places(files, wanted)
            found = []
            for name, sizes in zip(places, self.scan(list(places), _group_sizes), strict=True):
                for group, there in enumerate(np.split(places[name], np.cumsum(sizes)[:-1])):
                    rows = np.flatnonzero(there >= 0)
                    if len(rows):
                        found.append({"file": name, "group": group, "rows": rows, "films": there[rows]})
            return pa.Table.from_pylist(found, _ROW_INDEX_SCHEMA)

        return self._read(find)

    def missing(self, plan: pa.Table) -> pa.Table:
        """Return the rows of `plan` that are not committed yet, in the plan's order."""
        return plan.filter(self.lacks(plan))

    def lacks(self, plan: pa.Table) -> pa.ChunkedArray:
        """Return for each row of `plan` whether its film is not committed yet."""
        return pc.invert(_are_among(plan["film_id"], self.ids()))

    def commit(self, rows: pa.Table) -> list[str]:
        """Write rows of STORE_SCHEMA, films that failed apart from the others. Return the path of each row's file.

        The same films go to the same files. Raises UserError if there is no room, or the rows are of another campaign.
        """
        if set(rows["campaign"].unique().to_pylist()) != {self.campaign}:
            raise UserError(f"store {self.uri} takes films of campaign {self.campaign} only")
        rows = rows.select(STORE_SCHEMA.names).cast(STORE_SCHEMA)
        failed, generation = pc.equal(rows["status"], "failed"), self.generation
        paths = {}
        for kind, part in ((FINISHED, rows.filter(pc.invert(failed))), (FAILED, rows.filter(failed))):
            if part.num_rows:
                part = part.sort_by("film_id")
                paths[kind] = path_of(generation, file_name(part["film_id"].to_pylist(), kind))
                self.location.write(paths[kind], parquet([part]), RETRY_SECONDS)
        return [paths[FAILED if one else FINISHED] for one in failed.to_pylist()]

    def begin_writing(self, planned: int | None = None) -> "Store":
        """Remove what killed writers left, and note how many films are planned. The caller has the store's lease."""
        note, generation = read_note(self.location), self.generation
        others = generations(self.location.names("", RETRY_SECONDS)) - {generation}
        if others and not self.files_of(generation):
            raise UserError(
                f"store {self.uri}: {CAMPAIGN_FILE} names generation {generation}, which is not there, and generation "
                f"{max(others)} is; remove that file and run `magray simulate` to have it made anew"
            )
        remove_leftovers(self.location, generation)
        wanted = Note(self.campaign, self.planned if planned is None else planned, generation)
        if note != wanted:
            wanted.write(self.location)
        return replace(self, planned=wanted.films)

    def restore_note(self) -> None:
        """Write the note that makes the folder a store, if it was lost like any other file."""
        if read_note(self.location) is None:
            Note(self.campaign, self.planned, self.generation).write(self.location)

    def check_room(self, films: pa.Table) -> None:
        """Raise UserError if the local disk cannot hold the pictures of `films`, rows of a plan, uncompressed."""
        free = self.location.free_bytes()
        pixels = pc.sum(pc.multiply(*(films[name].cast(pa.int64()) for name in ("nx", "ny")))).as_py() or 0
        needed = pixels + films.num_rows * ROW_BYTES
        if free is not None and needed > free:
            raise UserError(
                f"no room for the store: {films.num_rows} films may need {needed / 1e9:.3g} GB, "
                f"and {free / 1e9:.3g} GB are free at {self.uri}; free some space or choose another store"
            )

    def _ids_of(self, files: list[str]) -> dict[str, pa.Array]:
        """Return the ids in each of the files."""
        new = [name for name in files if name not in self.id_cache]
        self.id_cache.update(zip(new, self.scan(new, _film_ids), strict=True))
        for gone in self.id_cache.keys() - set(files):
            del self.id_cache[gone]
        return {name: self.id_cache[name] for name in files}

    def _places(self, files: list[str], wanted: pa.Array) -> dict[str, NDArray[np.int64]]:
        """Return, for each file that holds wanted films, its rows' places in `wanted`; −1 for other films."""
        ids = self._ids_of(files)
        everything = pa.chunked_array(ids.values(), pa.string())
        places = pc.fill_null(pc.index_in(everything, value_set=wanted), -1).to_numpy().astype(np.int64)
        lacking = np.setdiff1d(np.arange(len(wanted)), places)
        if len(lacking):
            raise UserError(f"store {self.uri} has no film {wanted[lacking[0]]}")
        ends = np.cumsum([len(some) for some in ids.values()])
        parts = zip(files, np.split(places, ends[:-1]), strict=True) if files else ()
        return {name: part for name, part in parts if (part >= 0).any()}

    def _images(self, places: dict[str, NDArray[np.int64]], wanted: pa.Array) -> NDArray[np.uint8]:
        sizes = self.scan(list(places), lambda _, file: columns_of(file, ["film_id", "status", "height", "width"]))
        masks = (pa.array(part >= 0) for part in places.values())
        films = [table.filter(mask) for table, mask in zip(sizes, masks, strict=True)]
        ny, nx = _one_size(pa.concat_tables(films)) if films else (0, 0)
        images = np.empty((len(wanted), ny, nx), np.uint8)

        def fill(name: str, file: pq.ParquetFile) -> None:
            first = 0
            for group in range(file.num_row_groups):
                there = places[name][first : first + file.metadata.row_group(group).num_rows]
                first += len(there)
                if (there >= 0).any():
                    column = columns_of(file, PICTURE, [group])["image"]
                    for row in np.flatnonzero(there >= 0):
                        images[there[row]] = np.frombuffer(column[int(row)].as_buffer(), np.uint8).reshape(ny, nx)

        for _ in self.scan(list(places), fill):
            pass
        return images

    def scan(self, files: list[str], read: Callable[[str, pq.ParquetFile], _Answer]) -> Iterator[_Answer]:
        """Yield `read` of each file's path and content, in the files' order, many at once."""

        def one(name: str) -> _Answer:
            with open_parquet(self.location, name) as file:
                return read(name, file)

        def persistent(name: str) -> _Answer:
            return self.location.retry(lambda: one(name), RETRY_SECONDS)

        return bounded_map(persistent, files, readers(self.location))

    def _read(self, read: Callable[[list[str]], _Answer]) -> _Answer:
        """Return `read` of the committed files; once more if a compaction or a retry removes some of them meanwhile."""
        with reading(self.uri):
            files = self.files()
            try:
                return read(files)
            except FileNotFoundError:
                now = self.files()
                if now == files:
                    raise
                return read(now)


def create_store(uri: str, campaign: str, plan: pa.Table) -> Store:
    """Return the store of a campaign: a new one, or the one at `uri` if it holds this campaign, to go on with.

    A campaign may grow: `plan` must hold every film that is committed, and may hold more.
    Raises UserError if `uri` holds anything else, the plan is of another campaign or physics version, or the disk has
    no room for the films that are missing.
    """
    location = locate(uri)
    _check_plan(campaign, plan)
    try:
        names = location.names()  # without a retry: a wrong address is reported at once
    except OSError as error:
        raise UserError(f"store {uri} cannot be read: {in_words(error)}") from error
    if CAMPAIGN_FILE in names:
        store = open_store(uri)
        _check_continues(store, campaign, plan)
    elif all(is_ours(name) for name in names):  # none, or those of a store whose note was lost
        store = Store(location, campaign, plan.num_rows)
        _check_continues(_as_its_films_say(store), campaign, plan)
    else:
        raise UserError(f"{uri} holds files and is not a store of magray; choose another folder")
    store.check_room(store.missing(plan.select(["film_id", "nx", "ny"])))
    store.restore_note()
    return store


def open_store(uri: str | Path) -> Store:
    """Return the store at a path or URI. Raises UserError if there is none, or a newer magray wrote it."""
    location = locate(str(uri))
    note = read_note(location)
    if note is None:
        raise UserError(f"there is no store at {uri}; `magray simulate` makes one")
    return Store(location, note.campaign, note.films)


def read_row_index(row_index: pa.Table, store_uri: str) -> Iterator[pa.Table]:
    """Yield the pictures of a `Store.row_index`, a row group at a time: columns `film` and `image`.

    Lists nothing of the store. Raises UserError if a file cannot be read, or a compaction removed it.
    """
    location = _known_location(store_uri)

    def image(piece: dict[str, Any]) -> pa.ChunkedArray:
        with open_parquet(location, piece["file"]) as file:
            return columns_of(file, PICTURE, [piece["group"]])["image"].take(pa.array(piece["rows"]))

    with reading(store_uri):
        for piece in row_index.to_pylist():
            images = location.retry(partial(image, piece), RETRY_SECONDS)
            yield pa.table({"film": pa.array(piece["films"], pa.int64()), "image": images})


@contextlib.contextmanager
def reading(uri: str) -> Iterator[None]:
    """Turn pyarrow's errors about a damaged file of the store at `uri` into a UserError."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"store {uri} changed while it was read: a file is gone; run it again") from error
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # the system refusal, no damage
            raise UserError(f"store {uri} cannot be read: {in_words(error)}") from error
        raise UserError(
            f"store {uri} cannot be read: {one_line(error)}; "
            "`magray store verify` names the damaged files: delete them and simulate again"
        ) from error


def columns_of(file: pq.ParquetFile, names: Sequence[str], row_groups: list[int] | None = None) -> pa.Table:
    """Return columns of an open file. Raises pa.ArrowInvalid if it is not one of a store, or a row is wrong."""
    rows = unchecked_columns_of(file, names, row_groups)
    check_rows(rows)
    return rows


def unchecked_columns_of(file: pq.ParquetFile, names: Sequence[str], row_groups: list[int] | None = None) -> pa.Table:
    """Return columns as `columns_of` does, with any values. Columns newer than the file are null."""
    absent = [name for name in LATER if name in names and name not in file.schema_arrow.names]
    there = [name for name in names if name not in absent]
    rows = read_plain(file, schema_of(there or ["film_id"]), row_groups)
    for name in absent:
        rows = rows.append_column(STORE_SCHEMA.field(name), pa.nulls(rows.num_rows, STORE_SCHEMA.field(name).type))
    return rows.select(names)


def schema_of(names: Sequence[str]) -> pa.Schema:
    """Return the schema of some of the columns."""
    return pa.schema([STORE_SCHEMA.field(name) for name in names])


_known_location = cache(locate)  # an object store's client takes its time to be made


def _are_among(ids: pa.ChunkedArray, others: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return for each id whether it is one of the others; of these, so many are looked for at a time.

    pyarrow makes a hash table of what it looks for: for ten million ids it would take a gigabyte.
    """
    found = pc.is_in(ids, value_set=others.slice(0, IDS_AT_ONCE).combine_chunks())
    for first in range(IDS_AT_ONCE, len(others), IDS_AT_ONCE):
        found = pc.or_(found, pc.is_in(ids, value_set=others.slice(first, IDS_AT_ONCE).combine_chunks()))
    return found


def _group_sizes(_: str, file: pq.ParquetFile) -> list[int]:
    return [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]


def _film_ids(_: str, file: pq.ParquetFile) -> pa.Array:
    return columns_of(file, ["film_id"])["film_id"].combine_chunks()


def _one_size(films: pa.Table) -> tuple[int, int]:
    """Return the height and width of films that all have a picture of the same size."""
    failed = films.filter(pc.equal(films["status"], "failed"))
    if failed.num_rows:
        raise UserError(f"film {failed['film_id'][0]} failed and has no picture")
    sizes = films.group_by(["height", "width"]).aggregate([])
    if sizes.num_rows > 1:
        raise UserError(f"films of {sizes.num_rows} sizes cannot be one array of pictures; ask for one size at a time")
    return sizes["height"][0].as_py(), sizes["width"][0].as_py()


def _check_plan(campaign: str, plan: pa.Table) -> None:
    plan = checked_plan(plan).unify_dictionaries()
    names = set(plan["campaign"].unique().to_pylist())
    if names != {campaign}:
        raise UserError(f"the plan holds films of campaign {', '.join(sorted(names)) or '(none)'}, not of {campaign}")
    versions = set(plan["physics_version"].unique().to_pylist())
    if versions != {PHYSICS_VERSION}:
        raise UserError(
            f"the plan is of physics version {versions.pop()}, not {PHYSICS_VERSION}; run `magray plan` again"
        )
    if pc.count_distinct(plan["film_id"]).as_py() != plan.num_rows:
        raise UserError("the plan holds a film twice; run `magray plan` again")


def _as_its_films_say(store: Store) -> Store:
    """Return the store, but of another campaign if any of its films is."""
    names = store.table(["campaign"])["campaign"].unique().to_pylist()
    return replace(store, campaign=next((name for name in names if name != store.campaign), store.campaign))


def _check_continues(store: Store, campaign: str, plan: pa.Table) -> None:
    if store.campaign != campaign:
        raise UserError(f"store {store.uri} holds campaign {store.campaign}, not {campaign}; choose another store")
    ids = store.ids()
    strangers = ids.filter(pc.invert(_are_among(ids, plan["film_id"])))
    if len(strangers):
        raise UserError(
            f"store {store.uri} holds another plan: {len(strangers)} of its films are not in this one "
            f"(such as {pc.min(strangers)}); choose another store"
        )
