"""The reference backend: the terms as they stand in `terms/`, double precision, nothing clever."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from magray.films.film import MU0, Film
from magray.micromagnetics.landscape import Point, preconditioner
from magray.micromagnetics.terms import energy_terms, field_terms

Vectors = NDArray[np.float64]


class OracleLandscape:
    """A film's energy in double precision. Meets `landscape.Landscape`."""

    def __init__(self, film: Film) -> None:
        self.film = film
        self.inverse = preconditioner(film)

    def evaluate(self, m: Vectors) -> Point:
        m = np.asarray(m, np.float64)
        h = np.sum(list(field_terms(self.film, m).values()), axis=0) / self.film.Ms
        force = tangent(m, h)
        energy = energy_terms(self.film, m)["total"] / (MU0 * self.film.Ms**2)
        return Point(m, force, energy, float(np.max(np.linalg.norm(force, axis=0))))

    def precondition(self, force: Vectors) -> Vectors:
        return np.asarray(np.fft.irfft2(np.fft.rfft2(force) * self.inverse, s=force.shape[1:]))

    def products(self, vectors: Sequence[Vectors], force: Vectors) -> Vectors:
        return np.array([np.vdot(vector, force) for vector in vectors])

    def turn(
        self, m: Vectors, descent: Vectors, weights: Sequence[float], vectors: Sequence[Vectors], limit: float
    ) -> tuple[Vectors, Vectors, float]:
        step = descent + sum((w * v for w, v in zip(weights, vectors, strict=True)), np.zeros_like(m))
        step = tangent(m, step)
        step *= limit / np.maximum(np.linalg.norm(step, axis=0), limit)
        turned = m + step
        return turned / np.linalg.norm(turned, axis=0), step, float(np.max(np.linalg.norm(step, axis=0)))


def tangent(m: Vectors, v: Vectors) -> Vectors:
    """v less its part along m."""
    return np.asarray(v - np.sum(m * v, axis=0) * m)
