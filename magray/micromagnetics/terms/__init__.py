"""The terms of a film's energy in plain NumPy, double precision: one file a term, readable first.

They are the reference of the fast backends. Each module has `field(film, m)` in A/m, (3, ny, nx), and
`energy_density(film, m)` in J/m³, averaged over the film; field = −1/(µ0 Ms) δE/δm. `m`: unit vectors (3, ny, nx).
"""

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from magray.errors import UserError
from magray.films.film import Film
from magray.films.values import instance
from magray.micromagnetics.terms import anisotropy, demag, dmi, exchange, zeeman

TERMS: dict[str, ModuleType] = {
    "exchange": exchange,
    "anisotropy": anisotropy,
    "dmi": dmi,
    "demag": demag,
    "zeeman": zeeman,
}


def field_terms(film: Film, m: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
    """Return each term's field, A/m. `m`: unit vectors (3, ny, nx). Raises UserError for another shape."""
    instance(film, Film, "film")
    m = np.asarray(m, np.float64)
    nx, ny = film.cells
    if m.shape != (3, ny, nx):
        raise UserError(f"m: give the unit vectors of the film's cells, of shape {(3, ny, nx)}, not {m.shape}")
    return {name: term.field(film, m) for name, term in TERMS.items()}


def energy_terms(film: Film, m: NDArray[np.floating]) -> dict[str, float]:
    """Return each term's energy density, J/m³, and their sum "total". `m`: unit vectors (3, ny, nx)."""
    m = np.asarray(m, np.float64)
    energies = {name: float(term.energy_density(film, m)) for name, term in TERMS.items()}
    return energies | {"total": sum(energies.values())}
