"""The interface of backends: a film's energy and dynamics as functions of m, for the minimiser and the quench.

Fields are in units of Ms, energies in µ0 Ms² a cell; forces and steps are tangent to the unit spheres.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from magray.films.film import Film
from magray.units import MU0

Vectors = NDArray[np.floating]  # (3, ny, nx): component, row y, column x
HISTORY = 4  # steps in the memory of the L-BFGS minimiser


@dataclass(frozen=True)
class Point:
    """A magnetisation with the result of one field evaluation."""

    m: Vectors
    force: Vectors  # h − (m·h) m, the negative gradient of the energy
    energy: float  # µ0 Ms² a cell
    torque: float  # max |m × h| = max |force|, Ms


@dataclass(frozen=True)
class InnerStep:
    """An inner step of a quench. rotation: γ0 Ms dt / (1+α²). thermal_std: of the stochastic field, Ms.

    counter: (number of the step, number of the stage), from which the stochastic field is drawn.
    """

    alpha: float
    rotation: float
    thermal_std: float
    counter: tuple[int, int]


class FieldBackend(Protocol):
    """The operations on one film's arrays that the minimiser and the quench need."""

    def evaluate(self, m: Vectors) -> Point:
        """Return the force and the energy at m: one field evaluation."""
        ...

    def precondition(self, force: Vectors) -> Vectors:
        """Return P times the force; P is linear, symmetric and close to the inverse Hessian of the energy."""
        ...

    def products(self, vectors: Sequence[Vectors], force: Vectors) -> NDArray[np.float64]:
        """Return each vector · the force; at most HISTORY pairs of vectors and three more."""
        ...

    def rotate(
        self, m: Vectors, weights: Sequence[float], vectors: Sequence[Vectors], limit: float
    ) -> tuple[Vectors, Vectors, float]:
        """Rotate m along Σ weight · vector, made tangent, by `limit` (rad) at most in each cell.

        Returns the new m, the step, and the largest rotation.
        """
        ...

    def demag(self, m: Vectors) -> Vectors:
        """Return the demagnetising field at m, Ms."""
        ...

    def in_stage(self, film: Film) -> "FieldBackend":
        """Return a backend for `film`, which is the same film in another applied field."""
        ...

    def advance(self, m: Vectors, demag: Vectors, step: InnerStep) -> Vectors:
        """Return m after an inner step with all local terms, the applied and stochastic fields, and `demag` (Ms)."""
        ...


@dataclass(frozen=True)
class Coefficients:
    """A film's constants as factors of the reduced field, in units of Ms for unit vectors m."""

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
        """Return the coefficients of a film."""
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
    """Return c0 = |2 Ku1 / µ0 Ms² − 1| + |H| / Ms, the curvature of a uniform film's energy, kept away from 0.

    The 1 is the demagnetising field's; it is absent without demag.
    """
    c = Coefficients.of(film)
    return max(abs(c.anisotropy - film.demag) + math.hypot(*c.field), STIFFNESS_FLOOR)


def preconditioner(film: Film) -> NDArray[np.float64]:
    """Return the preconditioner 1 / (c0 + cex k²) on the half spectrum of rfft2: (ny, nx/2+1).

    The energy's second derivative about a uniform film is c0 plus the exchange operator, whose symbol cex k² is that of
    the five-point Laplacian; both without the demagnetising field of the wave itself.
    """
    (nx, ny), c = film.cells, Coefficients.of(film)
    kx, ky = 2 * np.pi * np.arange(nx // 2 + 1) / nx, 2 * np.pi * np.arange(ny) / ny
    symbol = c.exchange_x * (2 - 2 * np.cos(kx))[None, :] + c.exchange_y * (2 - 2 * np.cos(ky))[:, None]
    return np.asarray(1 / (stiffness(film) + symbol))
