"""Write a gallery: a page of simulated films over a plane of two of their numbers, where one finds a film by eye."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from magray.errors import UserError, shortened
from magray.films.design import reduced_numbers
from magray.films.origin import protocol_or_origin
from magray.imaging import area_average
from magray.report.html import data_uri, write_page
from magray.report.labels import Quantity, quantity
from magray.store import STORE_SCHEMA, Store
from magray.units import practical

MOST_COLUMNS, MOST_ROWS = 12, 9
LOGARITHMIC = 5.0  # largest value over median from which an axis of numbers above 0 is logarithmic
THUMBNAIL = 128  # pixels along a side
_GREYS = 16  # of a thumbnail: looks the same with half of the bytes
_CONSTANTS = {"Ms": "Ms", "Ku1": "Ku1", "Aex": "Aex", "D": "D", "dz": "thickness", "sigma": "σ of Ku1"}
_REDUCED = {"Q1": "Q1", "t_over_wall_width": "t/Δ", "d": "|D|/Dc"}  # of magray.films.reduced; not in the store

Numbers = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Axis:
    """An axis of the plane, in bins of equal width. edges: (bins + 1,), SI, ascending."""

    quantity: Quantity
    edges: NDArray[np.float64]
    logarithmic: bool

    @classmethod
    def over(cls, shown: Quantity, values: NDArray[np.float64], bins: int) -> "Axis":
        """Return the axis from the smallest value to the largest."""
        low, high = float(values.min()), float(values.max())
        logarithmic = low > 0 and high > LOGARITHMIC * float(np.median(values))
        edges = np.geomspace(low, high, bins + 1) if logarithmic else np.linspace(low, high, bins + 1)
        return cls(shown, edges, logarithmic)

    @property
    def bins(self) -> int:
        """Return how many bins there are."""
        return len(self.edges) - 1

    @property
    def ticks(self) -> list[str]:
        """Return the values in the middles of the bins, in the practical unit."""
        low, high = self.edges[:-1], self.edges[1:]
        middles = np.sqrt(low * high) if self.logarithmic else (low + high) / 2
        step = float(np.diff(self.edges).max())
        return [f"{0.0 if abs(value) < 1e-9 * step else value * self.quantity.factor:.3g}" for value in middles]

    def places(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where values lie, from 0 at the first edge to `bins` at the last one."""
        values, edges = (np.log(values), np.log(self.edges)) if self.logarithmic else (values, self.edges)
        places: NDArray[np.float64] = (values - edges[0]) / (edges[-1] - edges[0]) * self.bins
        return places


def write_gallery(store: Store, x: str, y: str, path: Path) -> tuple[int, int]:
    """Write the page of a store's films over the numbers x and y; return how many are shown, and of how many.

    x, y: columns of the store with a unit, or Q1, t_over_wall_width or d. Only films that converged count. Of the films
    of each part of the plane, the one nearest to its middle is shown, MOST_COLUMNS × MOST_ROWS films at most. Raises
    UserError if there is no such number or no film, or if a number is the same in all films.
    """
    films = store.films()
    numbers = numbers_of(films)
    if x == y:
        raise UserError(f"both numbers are {x}; choose two of {', '.join(numbers)}")
    for name in (x, y):
        if name not in numbers:
            raise UserError(f"films have no number {shortened(name)}; choose one of {', '.join(numbers)}")
    known = np.isfinite(numbers[x]) & np.isfinite(numbers[y])
    films, numbers = films.filter(pa.array(known)), {name: values[known] for name, values in numbers.items()}
    if not films.num_rows:
        raise UserError(f"store {store.uri} has no film that converged with a known {x} and {y}")
    _check_spread(x, y, numbers)
    across, up = (Axis.over(_quantity(name), numbers[name], n) for name, n in _shape(x, y, films.num_rows))
    chosen, columns, rows = _nearest_to_middles(across.places(numbers[x]), up.places(numbers[y]), across.bins, up.bins)
    shown = films.take(pa.array(chosen))
    side = common_side(shown)
    write_page(
        "gallery.html",
        path,
        campaign=store.campaign,
        films=films.num_rows,
        side=f"{side * 1e9:.4g} nm",
        x=across,
        y=up,
        cells=[
            {"column": column, "row": row, "picture": picture, "name": _name(facts), "facts": facts}
            for column, row, picture, facts in zip(
                columns, rows, thumbnails(store, shown, side), facts_of(shown), strict=True
            )
        ],
    )
    return len(chosen), films.num_rows


def numbers_of(films: pa.Table) -> Numbers:
    """Return the numbers of films by name, SI, NaN where one is missing: columns with a unit, and reduced numbers."""
    names = [field.name for field in STORE_SCHEMA if field.type == pa.float64() and b"unit" in (field.metadata or {})]
    columns = {name: films[name].to_numpy() for name in names if name in films.column_names}
    reduced = reduced_numbers(films)
    return columns | {name: reduced[name] for name in _REDUCED}


def common_side(films: pa.Table) -> float:
    """Return the side of the largest square that fits into each of the films, m."""
    sides = [films[n].to_numpy() * films[cell].to_numpy() for n, cell in (("nx", "dx"), ("ny", "dy"))]
    return float(np.minimum(*sides).min())


def thumbnails(store: Store, films: pa.Table, side: float) -> list[str]:
    """Return a square of `side` m of each film, from its first corner on, as data URIs of PNGs. White is up."""
    rows = films.select(["film_id", "nx", "ny", "dx", "dy"]).to_pylist()
    pictures: dict[str, NDArray[np.uint8]] = {}
    for size in {(row["nx"], row["ny"]) for row in rows}:
        ids = [row["film_id"] for row in rows if (row["nx"], row["ny"]) == size]
        pictures |= dict(zip(ids, store.images(ids), strict=True))
    return [_thumbnail(pictures[row["film_id"]], round(side / row["dx"]), round(side / row["dy"])) for row in rows]


def facts_of(films: pa.Table) -> list[list[tuple[str, str]]]:
    """Return the constants of films, reduced numbers, size and protocol, each with its name, as people write them."""
    numbers = numbers_of(films)
    found = []
    for place, row in enumerate(films.to_pylist()):
        facts = [(label, practical(row[name], None, _unit(name))) for name, label in _CONSTANTS.items()]
        facts += [(label, f"{numbers[name][place]:.3g}") for name, label in _REDUCED.items()]
        facts += [("DMI", row["dmi"])]
        facts += [("cells", f"{row['nx']} × {row['ny']} of {row['dx'] * 1e9:.3g} nm")]
        facts += [("protocol", str(protocol_or_origin(row["protocol"]))), ("film", row["film_id"])]
        found.append(facts)
    return found


def _thumbnail(picture: NDArray[np.uint8], across: int, down: int) -> str:
    square = area_average(picture[:down, :across], THUMBNAIL)
    few = np.rint(square / 255 * (_GREYS - 1)) * (255 / (_GREYS - 1))
    file = BytesIO()
    Image.fromarray(few.round().astype(np.uint8)).quantize(_GREYS).save(file, "PNG", optimize=True)
    return data_uri(file.getvalue())


def _name(facts: Sequence[tuple[str, str]]) -> str:
    told = dict(facts)
    return ", ".join(f"{name} {told[name]}" for name in ("D", "Ms", "Aex", "Ku1", "thickness"))


def _unit(name: str) -> str:
    unit: bytes = STORE_SCHEMA.field(name).metadata[b"unit"]
    return unit.decode()


def _quantity(name: str) -> Quantity:
    return Quantity(_REDUCED[name], 1.0, "") if name in _REDUCED else quantity(name)


def _check_spread(x: str, y: str, numbers: Numbers) -> None:
    varied = [name for name, values in numbers.items() if np.ptp(values) > 1e-9 * np.abs(values).max()]
    for option, name in (("--x", x), ("--y", y)):
        if name not in varied:
            others = ", ".join(one for one in varied if one not in (x, y)) or "none"
            raise UserError(f"{name} is the same in all films; choose another number by {option}: {others}")


def _shape(x: str, y: str, films: int) -> tuple[tuple[str, int], tuple[str, int]]:
    """Return the bins of both axes: about as many parts of the plane as films, within limits."""
    bins = int(np.ceil(np.sqrt(films)))
    return (x, min(bins, MOST_COLUMNS)), (y, min(bins, MOST_ROWS))


def _nearest_to_middles(
    x: NDArray[np.float64], y: NDArray[np.float64], columns: int, rows: int
) -> tuple[list[int], list[int], list[int]]:
    """Return the film nearest to the middle of each part of the plane that has any, its column and row from 0 on."""
    column, row = (np.clip(places.astype(int), 0, n - 1) for places, n in ((x, columns), (y, rows)))
    away = np.hypot(x - column - 0.5, y - row - 0.5)
    part = row * columns + column
    order = np.lexsort((away, part))
    _, first = np.unique(part[order], return_index=True)
    chosen = order[first]
    return chosen.tolist(), column[chosen].tolist(), row[chosen].tolist()
