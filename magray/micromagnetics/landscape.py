"""A film's energy as a function of m, the way the minimiser sees it: what each backend provides.

Fields are in units of Ms, energies in µ0 Ms² a cell; forces and steps are tangent to the unit spheres.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from magray.films.film import MU0, Film

Vectors = NDArray[np.floating]  # (3, ny, nx): component, row y, column x


@dataclass(frozen=True)
class Point:
    """A magnetisation with what one field evaluation says of it."""

    m: Vectors
    force: Vectors  # h − (m·h) m, the negative gradient of the energy
    energy: float  # µ0 Ms² a cell
    torque: float  # max |m × h| = max |force|, Ms


class Landscape(Protocol):
    """One film's energy, and the few operations on vectors that a minimiser needs."""

    def evaluate(self, m: Vectors) -> Point: ...

    def precondition(self, m: Vectors, v: Vectors) -> Vectors:
        """An approximate inverse of the energy's second derivative, applied to `v`; tangent at m."""
        ...

    def tangent(self, m: Vectors, v: Vectors) -> Vectors:
        """`v` less its part along `m`."""
        ...

    def rotate(self, m: Vectors, step: Vectors) -> Vectors:
        """m + step, brought back to unit length."""
        ...

    def dot(self, a: Vectors, b: Vectors) -> float: ...

    def add(self, a: Vectors, factor: float, b: Vectors) -> None:
        """a += factor · b, in place."""
        ...

    def limit(self, v: Vectors, length: float) -> None:
        """Shortens, in place, each cell's vector that is longer than `length` to that length."""
        ...

    def largest(self, v: Vectors) -> float:
        """max |v| over the cells."""
        ...


@dataclass(frozen=True)
class Coefficients:
    """A film's constants as the factors of its reduced field, in units of Ms for unit vectors m."""

    exchange_x: float  # 2 Aex / (µ0 Ms² dx²)
    exchange_y: float
    anisotropy: float  # 2 Ku1 / (µ0 Ms²)
    bulk_x: float  # 2 D / (µ0 Ms² · 2 dx), of central differences
    bulk_y: float
    interfacial_x: float
    interfacial_y: float
    field: tuple[float, float, float]

    @classmethod
    def of(cls, film: Film) -> "Coefficients":
        dx, dy, _ = film.cell_size
        unit = MU0 * film.Ms**2
        exchange, twist = 2 * film.Aex / unit, film.D / unit
        bulk, interfacial = float(film.dmi == "bulk"), float(film.dmi == "interfacial")
        return cls(
            exchange_x=exchange / dx**2,
            exchange_y=exchange / dy**2,
            anisotropy=2 * film.Ku1 / unit,
            bulk_x=bulk * twist / dx,
            bulk_y=bulk * twist / dy,
            interfacial_x=interfacial * twist / dx,
            interfacial_y=interfacial * twist / dy,
            field=tuple(h / film.Ms for h in film.field),  # type: ignore[arg-type]
        )


STIFFNESS_FLOOR = 0.05  # of the preconditioner, Ms; keeps films near or below Keff = 0 from an unbounded step


def stiffness(film: Film) -> float:
    """c0 = 2 Ku1 / µ0 Ms² − 1, the second derivative of a uniform film's energy, kept away from 0."""
    return max(abs(Coefficients.of(film).anisotropy - 1), STIFFNESS_FLOOR)


def preconditioner(film: Film) -> NDArray[np.float64]:
    """1 / (c0 + cex k²) on the half spectrum of rfft2: (ny, nx/2+1).

    The energy's second derivative about a uniform film is c0 plus the exchange operator, whose symbol cex k² is that of
    the five-point Laplacian; both without the demagnetising field of the wave itself.
    """
    (nx, ny), c = film.cells, Coefficients.of(film)
    kx, ky = 2 * np.pi * np.arange(nx // 2 + 1) / nx, 2 * np.pi * np.arange(ny) / ny
    symbol = c.exchange_x * (2 - 2 * np.cos(kx))[None, :] + c.exchange_y * (2 - 2 * np.cos(ky))[:, None]
    return np.asarray(1 / (stiffness(film) + symbol))
