"""A campaign's plan: the table of films, one row each, written before anything is simulated."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from magray.errors import UserError
from magray.files.atomic import read_table
from magray.files.parquet import plain
from magray.films.film import PHYSICS_VERSION, Film
from magray.films.protocol import Protocol


def _si(name: str, unit: str) -> pa.Field:
    return pa.field(name, pa.float64(), nullable=False, metadata={"unit": unit})


PLAN_SCHEMA = pa.schema(
    [
        pa.field("film_id", pa.string(), nullable=False),
        pa.field("campaign", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("nx", pa.int32(), nullable=False),
        pa.field("ny", pa.int32(), nullable=False),
        _si("dx", "m"),
        _si("dy", "m"),
        _si("dz", "m"),
        _si("Ms", "A/m"),
        _si("Ku1", "J/m3"),
        _si("Aex", "J/m"),
        _si("D", "J/m2"),
        pa.field("dmi", pa.string(), nullable=False),
        _si("sigma", "1"),
        _si("grain_size", "m"),
        _si("Hx", "A/m"),
        _si("Hy", "A/m"),
        _si("Hz", "A/m"),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("open_edges", pa.string(), nullable=False),
        pa.field("demag", pa.bool_(), nullable=False),
        pa.field("protocol", pa.string(), nullable=False, metadata={"format": "json"}),
        pa.field("physics_version", pa.int32(), nullable=False),
    ]
)


ROWS_AT_ONCE = 10_000
REPEATED = ("campaign", "split", "dmi", "open_edges", "protocol")  # texts that many films share
_SHARED = pa.dictionary(pa.int32(), pa.string())  # of which each is held once

# columns with the name of a field of Film
FILM_COLUMNS = ("Ms", "Ku1", "Aex", "D", "dmi", "sigma", "grain_size", "seed", "open_edges", "demag")


@dataclass(frozen=True)
class Sampling:
    """The sampling of `count` films with the fields `fixed` and, uniform in [low, high), those of `ranges`."""

    fixed: Mapping[str, Any]
    ranges: Mapping[str, tuple[float, float]]
    count: int
    seed: int


def sample(sampling: Sampling) -> list[Film]:
    """Return the films of a campaign. Film i depends on the seed and i: a longer plan begins with a shorter one."""
    return list(one_by_one(sampling))


def one_by_one(sampling: Sampling) -> Iterator[Film]:
    """Yield what `sample` returns: millions of films take less memory so."""
    return (_draw(sampling, i) for i in range(sampling.count))


def _draw(sampling: Sampling, index: int) -> Film:
    random = np.random.Generator(np.random.Philox(key=sampling.seed, counter=[0, 0, 0, index]))
    film_seed = int(random.integers(2**63))
    drawn = {name: float(random.uniform(*sampling.ranges[name])) for name in sorted(sampling.ranges)}
    return Film(**{**sampling.fixed, **drawn, "seed": film_seed})


def plan_table(films: Iterable[Film], campaign: str) -> pa.Table:
    """Return the plan of `films`, one row each, in their order."""
    rows, parts = (_row(film, campaign) for film in films), [PLAN_SCHEMA.empty_table()]
    while part := list(islice(rows, ROWS_AT_ONCE)):
        parts.append(pa.Table.from_pylist(part, schema=PLAN_SCHEMA))
    return pa.concat_tables(parts)


def read_plan(path: Path) -> pa.Table:
    """Return the plan in a file as `compact` has it: 0.2 GB for a million films. Raises UserError as `read_table`."""
    return read_table(path, PLAN_SCHEMA, each=compact)


def compact(plan: pa.Table) -> pa.Table:
    """Return a plan that holds each of the texts that many films share once, as Arrow's dictionaries do."""
    for name in REPEATED:
        place = plan.schema.get_field_index(name)
        if place >= 0 and plan.schema.field(place).type == pa.string():
            plan = plan.set_column(place, plan.schema.field(place).with_type(_SHARED), plan[name].dictionary_encode())
    return plan


def _row(film: Film, campaign: str) -> dict[str, Any]:
    (nx, ny), (dx, dy, dz), (Hx, Hy, Hz) = film.cells, film.cell_size, film.field
    row: dict[str, Any] = {"film_id": film.film_id, "campaign": campaign, "split": film.split}
    row |= {"nx": nx, "ny": ny, "dx": dx, "dy": dy, "dz": dz, "Hx": Hx, "Hy": Hy, "Hz": Hz}
    row |= {name: getattr(film, name) for name in FILM_COLUMNS}
    return row | {"protocol": film.protocol.to_json(), "physics_version": PHYSICS_VERSION}


def checked_plan(table: pa.Table) -> pa.Table:
    """Return the columns of a plan. Raises UserError before any value is read if they have other types."""
    try:
        return _checked(table)
    except pa.ArrowInvalid as error:
        raise UserError(f"the plan is no table of films: {error}; `magray plan` writes one") from error


def _checked(table: pa.Table) -> pa.Table:
    """Return the columns of a plan. One as `compact` has it stays as it is, and is written out a part at a time."""
    shared = [place for place, field in enumerate(table.schema) if field.type == _SHARED]
    if not shared:
        return plain(table, PLAN_SCHEMA)
    for first in range(0, max(1, table.num_rows), 10 * ROWS_AT_ONCE):
        part = table.slice(first, 10 * ROWS_AT_ONCE)
        for place in shared:
            part = part.set_column(
                place, part.schema.field(place).with_type(pa.string()), part[place].cast(pa.string())
            )
        plain(part, PLAN_SCHEMA)
    return table.select(PLAN_SCHEMA.names)


def films_of(plan: pa.Table) -> list[Film]:
    """Return the films of a plan's rows, in their order. Other columns are ignored.

    Raises UserError for values that no film can have.
    """
    return [_film(row) for row in plan.select(PLAN_SCHEMA.names).to_pylist()]


def _film(row: dict[str, Any]) -> Film:
    return Film(
        cells=(row["nx"], row["ny"]),
        cell_size=(row["dx"], row["dy"], row["dz"]),
        field=(row["Hx"], row["Hy"], row["Hz"]),
        protocol=Protocol.from_json(row["protocol"]),
        **{name: row[name] for name in FILM_COLUMNS},
    )
