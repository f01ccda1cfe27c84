"""Uniaxial anisotropy along z, with a Ku1 of its own in each cell: Ku1 (1 + sigma ξ), ξ standard normal.

E = −∫ Ku1(r) mz² dV          H = 2 Ku1(r) / (µ0 Ms) mz ẑ
"""

import numpy as np

from magray.films.film import Film
from magray.micromagnetics.initial_state import ku1_map
from magray.micromagnetics.terms.quadratic import Array, quadratic_energy
from magray.units import MU0


def field(film: Film, m: Array) -> Array:
    """Return the anisotropy field, A/m."""
    h = np.zeros_like(m)
    h[2] = 2 * film.Ku1 * ku1_map(film).astype(np.float64) / (MU0 * film.Ms) * m[2]
    return h


def energy_density(film: Film, m: Array) -> float:
    """Return the anisotropy energy, J/m³; −Ku1 for a film along z, 0 for one in the plane."""
    return quadratic_energy(film, m, field(film, m))
