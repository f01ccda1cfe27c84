"""Check that a store holds each film of the plan once, whole, and nothing else.

Every file is read once, several at a time, a row group at a time. The scalars are then compared with the plan's (or,
without one, with the ids) in batches of BATCH_FILMS.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from magray.errors import UserError, one_line
from magray.films.film import split_of
from magray.films.origin import ORIGIN, content_id
from magray.films.plan import PLAN_SCHEMA, checked_plan, films_of
from magray.store.faults import faults, has_infinite_point, has_picture, shown
from magray.store.layout import (
    CAMPAIGN_FILE,
    FAILED,
    FINISHED,
    FORMER_JOURNAL,
    LEASE_FILE,
    folder_of,
    holds_failed,
    is_film_file,
    is_unfinished,
    leftover_folder,
    path_of,
)
from magray.store.parquet import bounded_map, file_name, large_batches, open_parquet, readers
from magray.store.retry import RETRY_SECONDS
from magray.store.schema import LATER, SCALARS, STORE_SCHEMA
from magray.store.store import BATCH_FILMS, Store, schema_of, unchecked_columns_of

# of each file: pictures' sizes in their place, whether loops are damaged, and the ids that imported films should have
_CHECKED = (pa.field("pixels", pa.int32()), pa.field("damaged_loop", pa.bool_()), pa.field("content_id", pa.string()))
ROWS = pa.schema([*schema_of(SCALARS), *_CHECKED])


@dataclass
class Report:
    """The findings of `verify`: lists of film ids, and of lines about a row or file."""

    expected: int  # films in the plan
    committed: int = 0  # of these, whole in the store
    missing: list[str] = field(default_factory=list)  # film ids; known only where the plan is
    duplicate: list[str] = field(default_factory=list)  # film ids
    truncated: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)  # rows with values that no simulation may give
    foreign: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)  # left by a writer that was killed; harmless

    @property
    def ok(self) -> bool:
        """Return whether every film is there once and complete, and nothing else is."""
        return self.committed == self.expected and not (
            self.duplicate or self.truncated or self.damaged or self.foreign
        )

    @property
    def lines(self) -> list[str]:
        """Return the report for people: first the count, then a line for each finding."""
        found = [f"{self.committed} of {self.expected} films are committed"]
        for kind in ("missing", "duplicate", "truncated", "damaged", "foreign", "unfinished"):
            found += [f"{kind}: {what}" for what in getattr(self, kind)]
        return found


def verify(store: Store, plan: pa.Table | None = None) -> Report:
    """Read every byte of the store, checksums included, and return what is wrong with it.

    With the plan, missing films are named and the films' inputs compared with the plan's. Without it, missing films are
    counted, and inputs must be those that the ids stand for, which takes longer.
    Raises UserError if a compaction removes files meanwhile.
    """
    planned = None if plan is None else _Plan.of(checked_plan(plan))
    report = Report(store.planned if planned is None else planned.films)
    files = _film_files(store, report)
    read = large_batches(_read(store, files, report), BATCH_FILMS)
    seen = (_belonging(rows, store.campaign, planned, report) for rows in read)
    if planned is not None:
        planned.count(seen, report)
        return report
    counts = pa.chunked_array(list(seen), pa.string()).value_counts()
    ids, times = counts.field("values"), counts.field("counts")
    report.committed = len(ids)
    report.duplicate = sorted(ids.filter(pc.greater(times, 1)).to_pylist())
    return report


@dataclass(frozen=True)
class _Plan:
    """A plan, in its parts, in which the films of many batches are looked up: it is sorted once.

    ids: sorted; rows: their places in the plan.
    """

    parts: list[pa.RecordBatch]
    ids: NDArray[np.bytes_]
    rows: NDArray[np.intp]

    @classmethod
    def of(cls, plan: pa.Table) -> "_Plan":
        """Return a plan with the columns of PLAN_SCHEMA."""
        parts = plan.to_batches(max_chunksize=BATCH_FILMS)
        ids = np.concatenate([_as_bytes(part["film_id"]) for part in parts]) if parts else np.empty(0, "S1")
        rows = np.argsort(ids, kind="stable")
        return cls(parts, ids[rows], rows)

    @property
    def films(self) -> int:
        """Return the number of films."""
        return len(self.ids)

    def places(self, film_ids: pa.Array) -> NDArray[np.intp]:
        """Return the rows of films in the plan (n,); −1 for others."""
        if not self.films:
            return np.full(len(film_ids), -1)
        wanted = _as_bytes(film_ids)
        at = np.minimum(np.searchsorted(self.ids, wanted), self.films - 1)
        return np.where(self.ids[at] == wanted, self.rows[at], -1)

    def count(self, seen: Iterable[pa.Array], report: Report) -> None:
        """Report how often each film of the plan is among film ids, all of which are in it."""
        times = np.zeros(self.films, np.int32)
        for film_ids in seen:
            np.add.at(times, self.places(film_ids), 1)
        by_id = times[self.rows]
        report.committed = int((times > 0).sum())
        report.duplicate, report.missing = (
            [film_id.decode() for film_id in self.ids[found].tolist()] for found in (by_id > 1, by_id == 0)
        )

    def differs(self, rows: pa.Table) -> NDArray[np.bool_]:
        """Return for each row, whose film is in the plan, whether any of its inputs differs from the plan's."""
        places = self.places(_one(rows["film_id"]))
        ends, differs = np.cumsum([part.num_rows for part in self.parts]), np.zeros(len(places), bool)
        part_of = np.searchsorted(ends, places, side="right")
        for number in np.unique(part_of):
            here = np.flatnonzero(part_of == number)
            part = self.parts[number]
            planned, found = part.take(places[here] - (ends[number] - part.num_rows)), rows.take(here)
            for name in PLAN_SCHEMA.names:
                same = pc.fill_null(
                    pc.equal(_one(found[name]), planned[name].cast(PLAN_SCHEMA.field(name).type)), False
                )
                differs[here] |= ~same.to_numpy(zero_copy_only=False)
        return differs


def _as_bytes(film_ids: pa.Array) -> NDArray[np.bytes_]:
    return np.array([film_id.encode() for film_id in film_ids.to_pylist()], np.bytes_)


def _film_files(store: Store, report: Report) -> list[str]:
    """Return the files to read. Whatever else lies in the store goes into the report."""
    generation, names = store.generation, store.location.names("", RETRY_SECONDS)
    folder = f"{folder_of(generation)}/"
    left = {leftover_folder(name, generation) for name in names} - {""}
    report.unfinished += [f"{name}: left by a compaction; the next one removes it" for name in sorted(left)]
    outside = [name for name in names if not name.startswith((folder, *left))]
    inside = store.location.names(folder_of(generation), RETRY_SECONDS) if generation else []
    for name in [*outside, *(f"{folder}{name}" for name in inside)]:
        _, _, base = name.rpartition("/")
        counts = name == path_of(generation, base) and is_film_file(base)
        if is_unfinished(base) and name in (base, path_of(generation, base)):
            report.unfinished.append(name)
        elif not counts and name not in (CAMPAIGN_FILE, LEASE_FILE, FORMER_JOURNAL):
            report.foreign.append(f"{name} is no file of a store")
    return store.files()


def _read(store: Store, files: list[str], report: Report) -> Iterator[pa.Table]:
    """Yield what is to be checked of each file that can be read."""

    def read(name: str) -> pa.Table | Exception | None:
        try:
            return store.location.retry(lambda: _rows(store, name), RETRY_SECONDS)
        except FileNotFoundError as error:
            raise UserError(f"store {store.uri} changed while it was read: {name} is gone; verify again") from error
        except (pa.ArrowException, OSError) as error:
            return error

    for name, found in zip(files, bounded_map(read, files, readers(store.location)), strict=True):
        if found is None:
            report.foreign.append(f"{name} has other columns than a store")
        elif isinstance(found, Exception):
            report.truncated.append(f"{name} cannot be read ({one_line(found)})")
        else:
            kind = FAILED if holds_failed(name) else FINISHED
            if file_name(found["film_id"].to_pylist(), kind) != name.rpartition("/")[2]:
                report.truncated.append(f"{name} does not hold the films that it was written with")
            yield found.append_column("file", pa.array([name] * found.num_rows, pa.string()))


def _rows(store: Store, name: str) -> pa.Table | None:
    """Return a file's rows as ROWS has them; None if it is not one of a store."""
    with open_parquet(store.location, name, checked=True) as file:
        schema = file.schema_arrow
        known = schema_of([name for name in STORE_SCHEMA.names if name in schema.names or name not in LATER])
        if schema.names != known.names or schema.types != known.types:
            return None
        parts = [ROWS.empty_table()]
        for group in range(file.num_row_groups):
            rows = unchecked_columns_of(file, STORE_SCHEMA.names, [group])
            sizes, damaged = pc.binary_length(rows["image"]), has_infinite_point(_one(rows["loop"]))
            parts.append(pa.table([*rows.select(SCALARS).columns, sizes, damaged, _content_ids(rows)], ROWS))
        return pa.concat_tables(parts)


def _content_ids(rows: pa.Table) -> pa.Array:
    """Return the ids that imported films should have by their content; null for films of magray."""
    ids: list[str | None] = [None] * rows.num_rows
    imported = pc.match_substring(rows["protocol"], ORIGIN).to_numpy()
    for place in np.flatnonzero(imported):
        row = rows.slice(place, 1).to_pylist()[0]
        ids[place] = content_id(row, row["image"] or b"")
    return pa.array(ids, pa.string())


def _belonging(rows: pa.Table, campaign: str, plan: _Plan | None, report: Report) -> pa.Array:
    """Return the ids of the films that belong here and are whole; the others go into the report."""
    rows = _sound(rows, report)
    foreign = pc.not_equal(rows["campaign"], campaign)
    for row in rows.filter(foreign).select(["film_id", "file", "campaign"]).to_pylist():
        report.foreign.append(f"film {row['film_id']} in {row['file']} is of campaign {shown(row['campaign'])}")
    rows = rows.filter(pc.invert(foreign))
    if plan is not None:
        strange = pa.array(plan.places(_one(rows["film_id"])) < 0)
        _report(report.foreign, rows.filter(strange), "is not in the plan")
        rows = rows.filter(pc.invert(strange))
        altered = pa.array(plan.differs(rows))
    else:
        altered = _differs_from_id(rows)
    _report(report.foreign, rows.filter(altered), "has other inputs than its id stands for")
    rows = rows.filter(pc.invert(altered))
    whole = has_picture(rows, rows["pixels"])
    _report(report.truncated, rows.filter(pc.invert(whole)), "has no whole picture")
    return _one(rows.filter(whole)["film_id"])


def _report(lines: list[str], rows: pa.Table, what: str) -> None:
    rows = rows.select(["film_id", "file"])
    lines += [f"film {shown(row['film_id'])} in {row['file']} {what}" for row in rows.to_pylist()]


def _sound(rows: pa.Table, report: Report) -> pa.Table:
    """Return the rows with values that a simulation may give; the others go into the report."""
    sound = np.ones(rows.num_rows, bool)
    found = [
        *faults(rows.select(SCALARS)),
        ("its loop has a number that is not finite", _one(rows["damaged_loop"])),
        ("its size is not the one of its cells", _differs_in_size(rows)),
    ]
    for what, wrong in found:
        _report(report.damaged, rows.filter(pc.and_(wrong, sound)), f"({what})")
        sound &= ~wrong.to_numpy(zero_copy_only=False)
    return rows.filter(pa.array(sound))


def _differs_in_size(rows: pa.Table) -> pa.Array:
    """Return for each row whether its picture has another size than its film."""
    pixel_nm = pc.multiply(rows["dx"], 1e9)
    close = pc.less_equal(pc.abs(pc.subtract(rows["pixel_nm"], pixel_nm)), pc.multiply(pixel_nm, 1e-9))
    cells = pc.and_(pc.equal(rows["height"], rows["ny"]), pc.equal(rows["width"], rows["nx"]))
    return _one(pc.invert(pc.and_(cells, close)))


def _differs_from_id(rows: pa.Table) -> pa.Array:
    """Return for each row whether its inputs differ from those that its id stands for."""
    imported = pc.is_valid(_one(rows["content_id"]))
    if pc.any(imported).as_py():
        differs = np.zeros(rows.num_rows, bool)
        own, theirs = rows.filter(pc.invert(imported)), rows.filter(imported)
        differs[~imported.to_numpy(zero_copy_only=False)] = _differs_from_id(own).to_numpy(zero_copy_only=False)
        splits = pa.array([split_of(film_id) for film_id in theirs["film_id"].to_pylist()], pa.string())
        changed = pc.or_(pc.not_equal(theirs["film_id"], theirs["content_id"]), pc.not_equal(theirs["split"], splits))
        differs[imported.to_numpy(zero_copy_only=False)] = changed.to_numpy()
        return pa.array(differs)
    try:
        films = films_of(rows)
    except UserError:
        if rows.num_rows == 1:
            return pa.array([True])
        half = rows.num_rows // 2
        return pa.concat_arrays([_differs_from_id(rows.slice(0, half)), _differs_from_id(rows.slice(half))])
    other_id = pc.not_equal(_one(rows["film_id"]), pa.array([film.film_id for film in films], pa.string()))
    return pc.or_(other_id, pc.not_equal(_one(rows["split"]), pa.array([film.split for film in films], pa.string())))


def _one(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array."""
    return column.combine_chunks()
