"""Dzyaloshinskii-Moriya interaction: favours neighbours that are twisted in one sense.

    bulk:         E = D ∫ m · (∇ × m) dV                 H = −2 D / (µ0 Ms) ∇ × m
    interfacial:  E = D ∫ [mz ∇·m − (m·∇) mz] dV         H = 2 D / (µ0 Ms) [∇mz − (∇·m) ẑ]

Central differences in the plane. m does not vary across the film's single layer: there is no boundary condition in z,
and none of the term −(D²/2Aex)(mx² + my²) that such a condition would add (mumax3 has it also for one layer).

Written as a sum over pairs of neighbours, E = −½ µ0 Ms Σ m·H, the same expression has the natural boundary condition at
an open edge, ∂m/∂n = (D / 2 Aex) n × m (bulk) or (D / 2 Aex) (n × ẑ) × m (interfacial): the missing pair is left out.
"""

import numpy as np

from magray.films.film import Film
from magray.micromagnetics.terms.quadratic import Array, on_each_side, quadratic_energy
from magray.units import MU0


def field(film: Film, m: Array) -> Array:
    """Return the DMI field, A/m."""
    if film.dmi == "none":
        return np.zeros_like(m)
    dx, dy, _ = film.cell_size
    left, right, below, above = on_each_side(film, m, missing=np.zeros_like(m))
    ddx, ddy = (right - left) / (2 * dx), (above - below) / (2 * dy)
    factor = 2 * film.D / (MU0 * film.Ms)
    if film.dmi == "bulk":
        curl = np.stack([ddy[2], -ddx[2], ddx[1] - ddy[0]])
        return -factor * curl
    divergence = ddx[0] + ddy[1]
    return factor * np.stack([ddx[2], ddy[2], -divergence])


def energy_density(film: Film, m: Array) -> float:
    """Return the DMI energy, J/m³; negative where m turns in the favoured sense."""
    return quadratic_energy(film, m, field(film, m))
