"""Exchange: favours parallel neighbours.

    E = Aex ∫ |∇m|² dV            H = 2 Aex / (µ0 Ms) ∇²m

Five-point Laplacian on the cell grid. At an open edge the missing neighbour is left out: ∂m/∂n = 0 there.
"""

from magray.films.film import Film
from magray.micromagnetics.terms.quadratic import Array, on_each_side, quadratic_energy
from magray.units import MU0


def _laplacian(film: Film, m: Array) -> Array:
    """Return ∇²m, 1/m²."""
    dx, dy, _ = film.cell_size
    left, right, below, above = on_each_side(film, m, missing=m)
    along_x = (right - 2 * m + left) / dx**2
    along_y = (above - 2 * m + below) / dy**2
    return along_x + along_y


def field(film: Film, m: Array) -> Array:
    """Return the exchange field, A/m."""
    return 2 * film.Aex / (MU0 * film.Ms) * _laplacian(film, m)


def energy_density(film: Film, m: Array) -> float:
    """Return the exchange energy, J/m³; 0 for a uniform film."""
    return quadratic_energy(film, m, field(film, m))
