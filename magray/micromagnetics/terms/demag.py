"""Demagnetising field of the film and, across edges that are not open, of all its periodic images.

    E = −½ µ0 Ms ∫ m · H dV       H = −Ms N ∗ m

N ∗ is a convolution, so a product in Fourier space. Along its open axes the film is followed there by as many empty
cells. One layer: its mz makes hz alone, and mx, my make hx, hy.
"""

import numpy as np

from magray.films.film import Film
from magray.micromagnetics.demag_tensor import fourier_tensor
from magray.micromagnetics.terms.quadratic import Array, quadratic_energy


def field(film: Film, m: Array) -> Array:
    """Return the demagnetising field, A/m. In a periodic film: −Ms ẑ for mz = 1, 0 for uniform m in the plane."""
    if not film.demag:
        return np.zeros_like(m)
    nxx, nyy, nzz, nxy = fourier_tensor(film.cells, film.cell_size, film.open_axes)
    nx, ny = film.cells
    shape = padded(film)
    mx, my, mz = np.fft.rfft2(m, s=shape)
    h = np.stack([nxx * mx + nxy * my, nxy * mx + nyy * my, nzz * mz])
    return -film.Ms * np.fft.irfft2(h, s=shape)[:, :ny, :nx]


def padded(film: Film) -> tuple[int, int]:
    """Return (ny, nx) of the film with the empty cells that its open axes need."""
    (nx, ny), (open_x, open_y) = film.cells, film.open_axes
    return ny * (1 + open_y), nx * (1 + open_x)


def energy_density(film: Film, m: Array) -> float:
    """Return the demagnetising energy, J/m³; ½ µ0 Ms² for mz = 1 everywhere."""
    return quadratic_energy(film, m, field(film, m))
