"""The reference backend: the terms as they stand in `terms/`, double precision, nothing clever."""

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
        force = self.tangent(m, h)
        energy = energy_terms(self.film, m)["total"] / (MU0 * self.film.Ms**2)
        return Point(m, force, energy, self.largest(force))

    def precondition(self, m: Vectors, v: Vectors) -> Vectors:
        return self.tangent(m, np.fft.irfft2(np.fft.rfft2(v) * self.inverse, s=v.shape[1:]))

    def tangent(self, m: Vectors, v: Vectors) -> Vectors:
        return np.asarray(v - np.sum(m * v, axis=0) * m)

    def rotate(self, m: Vectors, step: Vectors) -> Vectors:
        turned = m + step
        return np.asarray(turned / np.linalg.norm(turned, axis=0))

    def dot(self, a: Vectors, b: Vectors) -> float:
        return float(np.vdot(a, b))

    def add(self, a: Vectors, factor: float, b: Vectors) -> None:
        a += factor * b

    def limit(self, v: Vectors, length: float) -> None:
        v *= length / np.maximum(np.linalg.norm(v, axis=0), length)

    def largest(self, v: Vectors) -> float:
        return float(np.sqrt(np.max(np.sum(v * v, axis=0))))
