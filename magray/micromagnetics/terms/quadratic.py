"""What all terms that are quadratic in m share: their energy follows from their own field."""

import numpy as np
from numpy.typing import NDArray

from magray.films.film import MU0, Film

Array = NDArray[np.float64]  # (3, ny, nx): component, row y, column x


def quadratic_energy(film: Film, m: Array, h: Array) -> float:
    """E = −½ µ0 Ms ⟨m·h⟩, J/m³, of a term that is quadratic in m and has the field h (A/m)."""
    return float(-0.5 * MU0 * film.Ms * np.mean(np.sum(m * h, axis=0)))


def step_x(m: Array, steps: int) -> Array:
    """m of the cell that lies `steps` cells further in x, around the periodic film."""
    return np.roll(m, -steps, axis=-1)


def step_y(m: Array, steps: int) -> Array:
    """m of the cell that lies `steps` cells further in y, around the periodic film."""
    return np.roll(m, -steps, axis=-2)
