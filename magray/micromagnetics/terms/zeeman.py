"""Zeeman: favours moments along the applied field.

E = −µ0 Ms ∫ m · H dV         H as applied, the same everywhere
"""

import numpy as np

from magray.films.film import Film
from magray.micromagnetics.terms.quadratic import Array, mean
from magray.units import MU0


def field(film: Film, m: Array) -> Array:
    """Return the applied field, A/m."""
    return np.broadcast_to(np.asarray(film.field)[:, None, None], m.shape).astype(np.float64)


def energy_density(film: Film, m: Array) -> float:
    """Return the Zeeman energy, J/m³: linear in m, so without the ½."""
    return -MU0 * film.Ms * mean(film, np.sum(m * field(film, m), axis=0))
