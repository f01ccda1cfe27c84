"""Turn the solver's results into rows of the store."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from magray.films.plan import PLAN_SCHEMA
from magray.store.schema import ENERGY_TERMS, STORE_SCHEMA

if TYPE_CHECKING:
    from magray.micromagnetics import LoopPoint, RelaxedFilm


def rows_of(relaxed: Sequence["RelaxedFilm"], plan: pa.Table) -> pa.Table:
    """Return the store's rows for the films of `plan`, in the plan's order, whatever the order of `relaxed`.

    Raises KeyError if a film of the plan was not relaxed.
    """
    done = {film.film.film_id: film for film in relaxed}
    rows = [row | _answer(done[row["film_id"]]) for row in plan.select(PLAN_SCHEMA.names).to_pylist()]
    return pa.Table.from_pylist(rows, schema=STORE_SCHEMA)


def pixels(mz: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the picture of a magnetisation's z component: −1…1 becomes 0…255, rounded."""
    return np.asarray(np.clip(np.rint((mz + 1) * 127.5), 0, 255), np.uint8)


def _answer(relaxed: "RelaxedFilm") -> dict[str, Any]:
    nx, ny = relaxed.film.cells
    row: dict[str, Any] = {"height": ny, "width": nx, "pixel_nm": relaxed.film.cell_size[0] * 1e9}
    row["image"] = None if relaxed.m is None else pixels(relaxed.m[2]).tobytes()
    row |= {f"energy_{term}": _finite(relaxed.energy.get(term, math.nan)) for term in ENERGY_TERMS}
    row["max_torque"] = _finite(relaxed.max_torque)
    row["loop"] = [_point(point) for point in relaxed.loop] or None
    names = ("evaluations", "status", "reason", "solver", "device", "seconds")
    return row | {name: getattr(relaxed, name) for name in names}


def _point(point: "LoopPoint") -> dict[str, float]:
    return dict(zip(("Hx", "Hy", "Hz", "mx", "my", "mz"), (*point.field, *point.m), strict=True))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
