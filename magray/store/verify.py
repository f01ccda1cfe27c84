"""Is a store what it should be: each film of the plan once, whole, and nothing else?

Every file is read once, several at a time, a row group at a time. Their scalars are then held against the plan's (or,
without one, against their ids) in batches of BATCH_FILMS.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from magray.errors import UserError
from magray.files.parquet import read_plain
from magray.films.plan import PLAN_SCHEMA, checked_plan, films_of
from magray.store.faults import faults, has_picture, shown
from magray.store.journal import JOURNAL_FILE, committed_files, is_unfinished, read_journal
from magray.store.parquet import bounded_map, file_name, is_film_file, large_batches, open_parquet, readers
from magray.store.retry import RETRY_SECONDS
from magray.store.schema import STORE_SCHEMA
from magray.store.store import BATCH_FILMS, CAMPAIGN_FILE, LEASE_FILE, SCALARS, Store, schema_of

ROWS = schema_of(SCALARS).append(pa.field("pixels", pa.int32()))  # of each file: the pictures' sizes in their place


@dataclass
class Report:
    """What was found. Each list holds one film id, or one line about a row or file."""

    expected: int  # films in the plan
    committed: int = 0  # of these, whole in the store
    missing: list[str] = field(default_factory=list)  # film ids; known only where the plan is
    duplicate: list[str] = field(default_factory=list)  # film ids
    truncated: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)  # rows with values that no simulation gives
    foreign: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)  # left by a writer that was killed; harmless

    @property
    def ok(self) -> bool:
        """True if every film is there once, whole, and nothing else is."""
        return self.committed == self.expected and not (
            self.duplicate or self.truncated or self.damaged or self.foreign
        )

    @property
    def lines(self) -> list[str]:
        """The report in words: first the count, then a line for each thing found."""
        found = [f"{self.committed} of {self.expected} films are committed"]
        for kind in ("missing", "duplicate", "truncated", "damaged", "foreign", "unfinished"):
            found += [f"{kind}: {what}" for what in getattr(self, kind)]
        return found


def verify(store: Store, plan: pa.Table | None = None) -> Report:
    """Reads every byte of the store, checksums included. Without the plan, missing films are counted but not named.

    With the plan, the films' inputs are compared with the plan's; without it, they must be those that the ids stand
    for, which takes longer. Raises UserError if a compaction takes files away meanwhile.
    """
    plan = None if plan is None else checked_plan(plan)
    report = Report(store.planned if plan is None else plan.num_rows)
    files = _film_files(store, report)
    read = large_batches(_read(store, files, report), BATCH_FILMS)
    seen = [_belonging(rows, store.campaign, plan, report) for rows in read]
    counts = pa.chunked_array(seen, pa.string()).value_counts()
    ids, times = counts.field("values"), counts.field("counts")
    report.committed = len(ids)
    report.duplicate = sorted(ids.filter(pc.greater(times, 1)).to_pylist())
    if plan is not None:
        report.missing = sorted(_without(plan["film_id"], ids).to_pylist())
    return report


def _film_files(store: Store, report: Report) -> list[str]:
    """The files to read. What else lies in the store goes into the report."""
    journal = read_journal(store.location)
    if journal is not None and journal.old:
        report.unfinished.append(f"{JOURNAL_FILE}: files are being replaced; if nobody is at it, compact the store")
    for name in store.location.names(RETRY_SECONDS):
        if is_unfinished(name):
            report.unfinished.append(name)
        elif not is_film_file(name) and name not in (CAMPAIGN_FILE, LEASE_FILE, JOURNAL_FILE):
            report.foreign.append(f"{name} is no file of a store")
    return committed_files(store.location)


def _read(store: Store, files: list[str], report: Report) -> Iterator[pa.Table]:
    """What is to be checked of each file that can be read."""

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
            report.truncated.append(f"{name} cannot be read ({str(found).splitlines()[0]})")
        else:
            if file_name(found["film_id"].to_pylist()) != name:
                report.truncated.append(f"{name} does not hold the films that it was written with")
            yield found.append_column("file", pa.array([name] * found.num_rows, pa.string()))


def _rows(store: Store, name: str) -> pa.Table | None:
    """A file's rows with the number of `pixels` in place of each picture; None if it is not one of a store."""
    with open_parquet(store.location, name, checked=True) as file:
        schema = file.schema_arrow
        if schema.names != STORE_SCHEMA.names or schema.types != STORE_SCHEMA.types:
            return None
        parts = [ROWS.empty_table()]
        for group in range(file.num_row_groups):
            rows = read_plain(file, STORE_SCHEMA, [group])
            parts.append(rows.select(SCALARS).append_column(ROWS.field("pixels"), pc.binary_length(rows["image"])))
        return pa.concat_tables(parts)


def _belonging(rows: pa.Table, campaign: str, plan: pa.Table | None, report: Report) -> pa.Array:
    """Ids of the films that belong here and are whole; the others go into the report."""
    rows = _sound(rows, report)
    foreign = pc.not_equal(rows["campaign"], campaign)
    for row in rows.filter(foreign).select(["film_id", "file", "campaign"]).to_pylist():
        report.foreign.append(f"film {row['film_id']} in {row['file']} is of campaign {shown(row['campaign'])}")
    rows = rows.filter(pc.invert(foreign))
    if plan is not None:
        strange = pc.invert(pc.is_in(rows["film_id"], value_set=_one(plan["film_id"])))
        _report(report.foreign, rows.filter(strange), "is not in the plan")
        rows = rows.filter(pc.invert(strange))
        altered = _differs_from_plan(rows, plan)
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
    """The rows whose values are ones that a simulation gives; the others go into the report."""
    sound = np.ones(rows.num_rows, bool)
    found = [*faults(rows.select(SCALARS)), ("its size is not the one of its cells", _differs_in_size(rows))]
    for what, wrong in found:
        _report(report.damaged, rows.filter(pc.and_(wrong, sound)), f"({what})")
        sound &= ~wrong.to_numpy(zero_copy_only=False)
    return rows.filter(pa.array(sound))


def _differs_in_size(rows: pa.Table) -> pa.Array:
    """For each row: has its picture another size than the film that it is of?"""
    pixel_nm = pc.multiply(rows["dx"], 1e9)
    close = pc.less_equal(pc.abs(pc.subtract(rows["pixel_nm"], pixel_nm)), pc.multiply(pixel_nm, 1e-9))
    cells = pc.and_(pc.equal(rows["height"], rows["ny"]), pc.equal(rows["width"], rows["nx"]))
    return _one(pc.invert(pc.and_(cells, close)))


def _differs_from_plan(rows: pa.Table, plan: pa.Table) -> pa.Array:
    """For each row, all of whose films are in the plan: is any of its inputs another than there?"""
    planned = plan.select(PLAN_SCHEMA.names).take(pc.index_in(rows["film_id"], value_set=_one(plan["film_id"])))
    same = pa.array(np.ones(rows.num_rows, bool))
    for name in PLAN_SCHEMA.names:
        same = pc.and_(same, pc.fill_null(pc.equal(_one(rows[name]), _one(planned[name])), False))
    return pc.invert(same)


def _differs_from_id(rows: pa.Table) -> pa.Array:
    """For each row: are its inputs none that its id stands for?"""
    try:
        films = films_of(rows)
    except UserError:
        if rows.num_rows == 1:
            return pa.array([True])
        half = rows.num_rows // 2
        return pa.concat_arrays([_differs_from_id(rows.slice(0, half)), _differs_from_id(rows.slice(half))])
    other_id = pc.not_equal(_one(rows["film_id"]), pa.array([film.film_id for film in films], pa.string()))
    return pc.or_(other_id, pc.not_equal(_one(rows["split"]), pa.array([film.split for film in films], pa.string())))


def _without(ids: pa.ChunkedArray, others: pa.Array) -> pa.ChunkedArray:
    return ids.filter(pc.invert(pc.is_in(ids, value_set=others)))


def _one(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    return column.combine_chunks()
