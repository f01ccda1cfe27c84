"""The reference backend: the terms of `terms/` in double precision, without optimisations."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magray.films.film import Film
from magray.micromagnetics.backend import InnerStep, Point, preconditioner
from magray.micromagnetics.initial_state import thermal_field
from magray.micromagnetics.llg import RUNGE_KUTTA
from magray.micromagnetics.mask import mask
from magray.micromagnetics.terms import TERMS, demag, energy_terms, field_terms
from magray.units import MU0

Vectors = NDArray[np.float64]


class Reference:
    """A film's energy in double precision: a `backend.FieldBackend`."""

    def __init__(self, film: Film) -> None:
        self.film = film
        self.inverse = preconditioner(film)
        self.mask = mask(film)

    def in_stage(self, film: Film) -> "Reference":
        return Reference(film)

    def evaluate(self, m: Vectors) -> Point:
        m = np.asarray(m, np.float64)
        h = np.sum(list(field_terms(self.film, m).values()), axis=0) / self.film.Ms
        force = tangent(m, h) * self.mask
        energy = energy_terms(self.film, m)["total"] / (MU0 * self.film.Ms**2)
        return Point(m, force, energy, float(np.max(np.linalg.norm(force, axis=0))))

    def demag(self, m: Vectors) -> Vectors:
        return demag.field(self.film, m) / self.film.Ms

    def advance(self, m: Vectors, demag: Vectors, step: InnerStep) -> Vectors:
        thermal = step.thermal_std * thermal_field(self.film, step.counter) if step.thermal_std else 0.0
        total, stage = np.zeros_like(m, np.float64), np.asarray(m, np.float64)
        for ahead, weight in RUNGE_KUTTA:
            local = sum(term.field(self.film, stage) for name, term in TERMS.items() if name != "demag")
            k = llg_slope(stage, local / self.film.Ms + demag + thermal, step.alpha)
            total, stage = total + weight * step.rotation * k, m + ahead * step.rotation * k
        return self._normalized(m + total)

    def _normalized(self, m: Vectors) -> Vectors:
        """Return m / |m| on the film's cells, 0 elsewhere."""
        return np.asarray(m * self.mask / np.linalg.norm(np.where(self.mask, m, 1), axis=0))

    def precondition(self, force: Vectors) -> Vectors:
        return np.asarray(np.fft.irfft2(np.fft.rfft2(force) * self.inverse, s=force.shape[1:]))

    def products(self, vectors: Sequence[Vectors], force: Vectors) -> Vectors:
        return np.array([np.vdot(vector, force) for vector in vectors])

    def rotate(
        self, m: Vectors, weights: Sequence[float], vectors: Sequence[Vectors], limit: float
    ) -> tuple[Vectors, Vectors, float]:
        step = sum((w * v for w, v in zip(weights, vectors, strict=True)), np.zeros_like(m))
        step = tangent(m, step)
        step *= limit / np.maximum(np.linalg.norm(step, axis=0), limit)
        step *= self.mask
        return self._normalized(m + step), step, float(np.max(np.linalg.norm(step, axis=0)))


def tangent(m: Vectors, v: Vectors) -> Vectors:
    """Return `v` less its part along m."""
    return np.asarray(v - np.sum(m * v, axis=0) * m)


def cross(a: Any, b: Any) -> Any:
    """Return a × b of NumPy or CuPy arrays (..., 3, ny, nx)."""
    ax, ay, az = (a[..., i, :, :] for i in range(3))
    bx, by, bz = (b[..., i, :, :] for i in range(3))
    product = np.empty_like(a)
    product[..., 0, :, :] = ay * bz - az * by
    product[..., 1, :, :] = az * bx - ax * bz
    product[..., 2, :, :] = ax * by - ay * bx
    return product


def llg_slope(m: Any, h: Any, alpha: float) -> Any:
    """Return dm/ds = −m × h − α m × (m × h), s = γ0 Ms t / (1+α²), for h in units of Ms: (..., 3, ny, nx)."""
    torque = cross(m, h)
    return -alpha * cross(m, torque) - torque
