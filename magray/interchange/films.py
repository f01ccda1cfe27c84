"""Read the films of folders that mumax3 or Ubermag wrote, and add them to a store.

A folder with vector fields is one film, in the state of its last field: earlier ones show the same film, and films that
look alike must not be both trained on and tested on.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from magray.errors import UserError, in_words
from magray.films import Film, plan_table
from magray.films.film import split_of
from magray.films.origin import Origin, content_id, is_origin
from magray.films.plan import PLAN_SCHEMA
from magray.imaging import MAX_MEGAPIXELS
from magray.imaging.formats.ovf import VectorField, read_field
from magray.interchange import mumax3, ubermag
from magray.interchange.known import Known
from magray.store import STORE_SCHEMA, Store, create_store, open_store
from magray.store.layout import CAMPAIGN_FILE
from magray.store.lease import lease
from magray.store.location import locate
from magray.store.rows import pixels

SUFFIXES = (".ovf", ".omf")
FILMS_PER_FILE = 64
_ANY_CELLS = (8, 8)  # in place of the film's: its numbers of cells need not suit magray's solvers
_MAGNETISATION = re.compile(r"m[0-9]*$|.*magneti[sz]ation", re.IGNORECASE)
_FILM_INPUTS = ("Ms", "Ku1", "Aex", "D", "dmi", "field", "open_edges", "demag")


@dataclass(frozen=True)
class Imported:
    """The outcome of an import: films read, and those of them that the store did not hold yet."""

    read: int
    added: int


def import_films(
    store_uri: str,
    folders: Sequence[Path],
    campaign: str,
    told: Known,
    notify: Callable[[str], None],
) -> Imported:
    """Add the films below some folders to a store, new or not. What it holds already is not added again.

    told: constants of all films, before those that the folders tell. notify: called with lines about the store's lease.
    Raises UserError, with the folder or file, for films without a field or constants, and as `create_store` does.
    """
    rows = {row["film_id"]: row for folder in folders for row in _rows(folder, campaign, told)}
    table = pa.Table.from_pylist(list(rows.values()), STORE_SCHEMA)
    plan = table.select(PLAN_SCHEMA.names).cast(PLAN_SCHEMA)
    if CAMPAIGN_FILE in locate(store_uri).names():
        held = open_store(store_uri)
        plan = _with(held.table(PLAN_SCHEMA.names), plan)
        if not all(map(is_origin, held.table(["protocol"])["protocol"].unique().to_pylist())):
            raise UserError(f"store {held.uri} holds films of a campaign; import into a store of its own")
    store = create_store(store_uri, campaign, plan)
    with lease(store.location, notify):
        added = _add(store.begin_writing(plan.num_rows), table)
    return Imported(table.num_rows, added)


def _with(held: pa.Table, new: pa.Table) -> pa.Table:
    """Return the rows of two plans, each film once."""
    fresh = new.filter(pc.invert(pc.is_in(new["film_id"], value_set=held["film_id"].combine_chunks())))
    return pa.concat_tables([held.cast(PLAN_SCHEMA), fresh])


def _add(store: Store, table: pa.Table) -> int:
    missing = store.missing(table)
    for first in range(0, missing.num_rows, FILMS_PER_FILE):
        store.commit(missing.slice(first, FILMS_PER_FILE))
    return int(missing.num_rows)


def _rows(top: Path, campaign: str, told: Known) -> Iterator[dict[str, Any]]:
    """Yield the store's rows of the films below a folder. Raises UserError if there are none."""
    if not top.is_dir():
        raise UserError(f"{top} is no folder; give one with the output of mumax3 or of Ubermag")
    found = False
    for folder in (top, *sorted(path for path in top.rglob("*") if path.is_dir())):
        if (path := _last_field(folder)) is not None:
            found = True
            try:
                yield _row(folder, path, campaign, told)
            except OSError as error:
                raise UserError(in_words(error)) from error
            except ValueError as error:
                raise UserError(f"{path}: {error}") from error
            except KeyError as error:
                raise UserError(f"{path}: it lacks {error}") from error
    if not found:
        raise UserError(f"{top} holds no magnetisation, as m000000.ovf or drive-0/…Magnetization….omf")


def _last_field(folder: Path) -> Path | None:
    """Return the last magnetisation of a folder: mumax3's m*.ovf, or OOMMF's, whose names tell stage and iteration."""
    fields = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
    states = [path for path in fields if _MAGNETISATION.match(path.stem) and path.stem != "m0"]
    return max(states, key=lambda path: [int(digits) for digits in re.findall(r"[0-9]+", path.stem)], default=None)


def _row(folder: Path, path: Path, campaign: str, told: Known) -> dict[str, Any]:
    """Return the store's row of the film in a folder. Raises ValueError for a damaged field."""
    field = read_field(path.read_bytes(), MAX_MEGAPIXELS)
    program, known = _told_by(folder)
    known = told.over(known.over(_told_by_field(field)))
    if field.values.shape[-1] != 3 or not all(math.isfinite(side) and side > 0 for side in field.cell):
        raise ValueError("it is no field of three components on cells in metres")
    dx, dy, dz = field.cell
    film = _film(folder, known, (dx, dy, dz * field.values.shape[0]))
    picture = pixels(_mz(field))
    height, width = picture.shape
    row: dict[str, Any] = plan_table([film], campaign).to_pylist()[0]
    row |= {"nx": width, "ny": height, "protocol": Origin(program).to_json()}
    row["film_id"] = content_id(row, picture.tobytes())
    row["split"] = split_of(row["film_id"])
    row |= {"image": picture.tobytes(), "height": height, "width": width, "pixel_nm": dx * 1e9}
    done = {"evaluations": 0, "status": "converged", "reason": "", "solver": program, "device": "", "seconds": 0.0}
    return row | done


def _told_by(folder: Path) -> tuple[str, Known]:
    """Return the program that wrote a folder, and what the folder tells of its film."""
    if mumax3.is_output(folder):
        return "mumax3", mumax3.known(folder)
    if ubermag.is_drive(folder):
        return "Ubermag", ubermag.known(folder)
    raise UserError(f"{folder} is neither of mumax3 (log.txt or table.txt) nor a drive of Ubermag (info.json)")


def _told_by_field(field: VectorField) -> Known:
    """Return the magnetisation of a field in A/m, as OOMMF's are. Raises ValueError if it varies from cell to cell."""
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(field.values, axis=-1)
    largest = float(lengths.max())
    if not 0 < largest < math.inf:
        raise ValueError("it is 0 everywhere, or has numbers that are not finite")
    if not np.allclose(lengths[lengths > 0], largest, rtol=1e-3):
        raise ValueError("its magnetisation differs in length from cell to cell, so it is no film of one material")
    return Known(Ms=largest if largest > 2 else None)  # a unit vector otherwise


def _film(folder: Path, known: Known, cell_size: tuple[float, float, float]) -> Film:
    """Return a film with these constants, which are checked. Raises UserError, with the folder, if any is missing."""
    told = {name: getattr(known, name) for name in _FILM_INPUTS}
    inputs: dict[str, Any] = {"open_edges": "xy", "demag": True}
    inputs |= {name: value for name, value in told.items() if value is not None}
    missing = [name for name in _FILM_INPUTS if name not in inputs and not (name == "dmi" and known.D == 0)]
    if missing:
        options = " ".join(f"--{name}" for name in missing)
        raise UserError(f"{folder} does not tell {', '.join(missing)} as plain numbers; give {options}")
    try:
        return Film(cells=_ANY_CELLS, cell_size=cell_size, **inputs)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from error


def _mz(field: VectorField) -> NDArray[np.float64]:
    """Return m_z (ny, nx), the mean over the layers of unit vectors; 0 where there is no film."""
    lengths = np.linalg.norm(field.values, axis=-1)
    mz = np.divide(field.values[..., 2], lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.asarray(mz.mean(0), np.float64)
