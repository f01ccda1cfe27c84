"""Terms quadratic in m: their energy follows from their own field."""

import numpy as np
from numpy.typing import NDArray

from magray.films.film import Film
from magray.micromagnetics.mask import SIDES, mask, neighbours
from magray.units import MU0

Array = NDArray[np.float64]  # (3, ny, nx): component, row y, column x


def quadratic_energy(film: Film, m: Array, h: Array) -> float:
    """Return E = −½ µ0 Ms ⟨m·h⟩, J/m³, of a term that is quadratic in m and has the field h (A/m)."""
    return -0.5 * MU0 * film.Ms * mean(film, np.sum(m * h, axis=0))


def mean(film: Film, values: Array) -> float:
    """Return the mean over the film's cells of values (ny, nx) that are 0 elsewhere."""
    return float(np.sum(values) / np.count_nonzero(mask(film)))


def on_each_side(film: Film, m: Array, missing: Array) -> list[Array]:
    """Return m of the neighbours to the left, right, below, above; `missing` of the cell itself where there is none."""
    has = neighbours(film)
    return [np.where(has[i], np.roll(m, -step, axis=axis), missing) for i, (axis, step) in enumerate(SIDES)]
