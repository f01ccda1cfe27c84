"""Exchange: neighbouring moments want to be parallel.

    E = Aex ∫ |∇m|² dV            H = 2 Aex / (µ0 Ms) ∇²m

Five-point Laplacian on the cell grid.
"""

from magray.films.film import MU0, Film
from magray.micromagnetics.terms.quadratic import Array, quadratic_energy, step_x, step_y


def laplacian(film: Film, m: Array) -> Array:
    """∇²m, 1/m²."""
    dx, dy, _ = film.cell_size
    along_x = (step_x(m, 1) - 2 * m + step_x(m, -1)) / dx**2
    along_y = (step_y(m, 1) - 2 * m + step_y(m, -1)) / dy**2
    return along_x + along_y


def field(film: Film, m: Array) -> Array:
    """Exchange field, A/m."""
    return 2 * film.Aex / (MU0 * film.Ms) * laplacian(film, m)


def energy_density(film: Film, m: Array) -> float:
    """Exchange energy, J/m³; 0 for a uniform film."""
    return quadratic_energy(film, m, field(film, m))
