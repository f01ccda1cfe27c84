"""A film: all inputs of its domain picture, and the id that is their hash."""

import hashlib
import json
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

from magray.errors import UserError
from magray.films.protocol import Minimize, Protocol, Quench, field_vector
from magray.films.values import LARGEST_INTEGER, choice, elements, instance, number, truth, whole
from magray.units import MU0

PHYSICS_VERSION = 1  # raise it whenever the same inputs would give another picture
TEST_FRACTION = 0.2  # of the films, as in the paper
SMALLEST_CELLS, LARGEST_CELLS = 8, 8192
THINNEST_CELL = 1e-11  # m
MOST_ELONGATED = 100  # a cell: its longest side over dx and over dy

# Orders of magnitude beyond every known material, and such that no product of them leaves the range of a float. Aex may
# almost vanish, for experiments on uncoupled spins.
LIMITS = {
    "Ms": (1.0, 1e8, "A/m"),
    "Ku1": (-1e12, 1e12, "J/m³"),
    "Aex": (1e-40, 1e-6, "J/m"),
    "D": (-100.0, 100.0, "J/m²"),
}
NUMBERS = (*LIMITS, "sigma", "grain_size")

RELAXED = Protocol()  # from a random start down to 1e-4 Ms

Dmi = Literal["bulk", "interfacial", "none"]
OpenEdges = Literal["none", "x", "y", "xy", "ellipse"]
DMIS, EDGES = get_args(Dmi), get_args(OpenEdges)

# Inputs that came after the first films, with the value that those have: they join the id where they differ from it.
LATER_INPUTS: dict[str, Any] = {"grain_size": 0.0, "open_edges": "none", "demag": True}


@dataclass(frozen=True)
class Film:
    """One magnetic layer, periodic in the plane unless its edges are open. SI units throughout.

    cells: (nx, ny), even, with prime factors 2, 3, 5, 7 only.
    cell_size: (dx, dy, dz), m; dz is the thickness of the film.
    Ms: saturation magnetisation, A/m. Ku1: mean uniaxial anisotropy along z, J/m³. Aex: exchange stiffness, J/m.
    D: Dzyaloshinskii-Moriya constant, J/m², of the kind that `dmi` names.
    sigma: standard deviation of Ku1, relative to Ku1, from grain to grain.
    grain_size: mean size of a grain, √(mean area), m; 0: each cell is a grain of its own.
    field: applied field H, A/m. seed: of the random start, the Ku1 map and the thermal field.
    open_edges: the axes along which the film ends (along the others it repeats itself without end), or "ellipse": it is
    the ellipse that fits into nx × ny cells.
    demag: False leaves the demagnetising field out, as some standard problems do.

    Raises UserError for values that no film can have.
    """

    cells: tuple[int, int]
    cell_size: tuple[float, float, float]
    Ms: float
    Ku1: float
    Aex: float
    D: float = 0.0
    dmi: Dmi = "none"
    sigma: float = 0.0
    grain_size: float = 0.0
    field: tuple[float, float, float] = (0.0, 0.0, 0.0)
    seed: int = 0
    open_edges: OpenEdges = "none"
    demag: bool = True
    protocol: Protocol = RELAXED

    def __post_init__(self) -> None:
        self._make_plain()
        self._check_geometry()
        self._check_constants()

    def _make_plain(self) -> None:
        """Turn every input into plain Python numbers, so that equal films compare equal and have the same id."""
        plain: dict[str, Any] = {name: number(getattr(self, name), name) for name in NUMBERS}
        plain["cells"] = elements(self.cells, 2, "cells", lambda n: whole(n, "cells", 0, LARGEST_INTEGER))
        plain["cell_size"] = elements(self.cell_size, 3, "cell_size", lambda d: number(d, "cell_size"))
        plain["field"] = field_vector(self.field)
        plain["seed"] = whole(self.seed, "seed", 0, LARGEST_INTEGER)
        plain["demag"] = truth(self.demag, "demag")
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        instance(self.protocol, Protocol, "protocol")
        choice(self.dmi, DMIS, "dmi")
        choice(self.open_edges, EDGES, "open_edges")

    def _check_geometry(self) -> None:
        for n in self.cells:
            check_cell_count(n)
        if not all(THINNEST_CELL <= d < 1e-6 for d in self.cell_size):
            raise UserError(
                f"cell_size must be three lengths in metres between {THINNEST_CELL:g} and 1e-6, not {self.cell_size}"
            )
        if max(self.cell_size) > MOST_ELONGATED * min(self.cell_size[:2]):
            raise UserError(
                f"cell_size: no side may be more than {MOST_ELONGATED} times dx or dy, unlike {self.cell_size}; "
                "use larger cells or a thinner film"
            )
        cell = max(self.cell_size[:2])
        if self.grain_size != 0 and not cell <= self.grain_size < 1e-3:
            raise UserError(
                f"grain_size is 0 (each cell a grain) or {cell:g} m (a cell) or more, below 1 mm, not {self.grain_size}"
            )

    def _check_constants(self) -> None:
        for name, unit in (("Ms", "A/m"), ("Aex", "J/m")):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} must be above 0 {unit}, not {getattr(self, name):g}")
        for name, (least, most, unit) in LIMITS.items():
            if not least <= getattr(self, name) <= most:
                raise UserError(f"{name} must lie between {least:g} and {most:g} {unit}, not {getattr(self, name):g}")
        if not 0 <= self.sigma < 1:
            raise UserError(f"sigma is relative to Ku1 and lies between 0 and 1, not {self.sigma:g}")
        if self.dmi == "none" and self.D != 0:
            raise UserError(f"D is {self.D:g} J/m² but dmi is none; set dmi to bulk or interfacial, or D to 0")

    @property
    def shape(self) -> tuple[object, ...]:
        """Return the number of cells and the kind of edges, which films of one batch share."""
        return self.cells, self.open_edges

    @property
    def open_axes(self) -> tuple[bool, bool]:
        """Return, for each axis, x and y, whether the film ends along it."""
        return self.open_edges in ("x", "xy", "ellipse"), self.open_edges in ("y", "xy", "ellipse")

    def in_stage(self, stage: Minimize | Quench) -> "Film":
        """Return the film in the field that is applied during the stage."""
        return self if stage.field is None else replace(self, field=stage.field)

    @property
    def Keff(self) -> float:
        """Return the effective anisotropy Ku1 − ½ µ0 Ms² of a thin film, J/m³."""
        return self.Ku1 - 0.5 * MU0 * self.Ms**2

    @property
    def critical_D(self) -> float:
        """Return Dc = 4 √(Aex Keff) / π, J/m², above which a wall costs no energy; 0 for an in-plane film."""
        return 4 * math.sqrt(self.Aex * max(self.Keff, 0.0)) / math.pi

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return lines about unusual inputs, to be shown before the film is simulated."""
        if abs(self.D) > self.critical_D:
            text = f"D = {self.D * 1e3:.3g} mJ/m² is beyond the critical {self.critical_D * 1e3:.3g} mJ/m²"
            return (f"{text}: the ground state is a spiral or in-plane, not up and down domains",)
        return ()

    @cached_property
    def film_id(self) -> str:
        """Return the film's id: 24 hexadecimal digits of the SHA-256 of every input and of PHYSICS_VERSION."""
        inputs = {
            "physics": PHYSICS_VERSION,
            "cells": [int(n) for n in self.cells],
            "dmi": self.dmi,
            "seed": int(self.seed),
            "protocol": self.protocol.to_json(),
            # float.hex is exact and the same on every machine; adding 0.0 makes −0 and 0 one film
            "cell_size": [(float(d) + 0.0).hex() for d in self.cell_size],
            "field": [(float(h) + 0.0).hex() for h in self.field],
            **{name: (float(getattr(self, name)) + 0.0).hex() for name in ("Ms", "Ku1", "Aex", "D", "sigma")},
        }
        later = {name: getattr(self, name) for name, first in LATER_INPUTS.items() if getattr(self, name) != first}
        if "grain_size" in later:
            later["grain_size"] = float(self.grain_size).hex()
        inputs |= later
        canonical = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:24]

    @property
    def split(self) -> Literal["train", "test"]:
        """Return the split, train or test, which the film's id decides: the same in every campaign, for all views."""
        return split_of(self.film_id)


def split_of(film_id: str) -> Literal["train", "test"]:
    """Return the split that an id decides: TEST_FRACTION of all ids are of test films."""
    return "test" if int(film_id[-8:], 16) < TEST_FRACTION * 2**32 else "train"


def check_cell_count(n: int) -> None:
    """Raise UserError unless `n` is a number of cells that a film can have along one side."""
    if not SMALLEST_CELLS <= n <= LARGEST_CELLS or n % 2:
        raise UserError(f"cells: {n} is not an even number between {SMALLEST_CELLS} and {LARGEST_CELLS}")
    rest = n
    for factor in (2, 3, 5, 7):
        while rest % factor == 0:
            rest //= factor
    if rest != 1:
        raise UserError(
            f"cells: {n} has a prime factor above 7; use a product of 2, 3, 5 and 7, such as 128, 240 or 512"
        )
