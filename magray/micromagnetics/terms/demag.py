"""Demagnetising field of the infinitely repeated film: moments want their poles covered.

    E = −½ µ0 Ms ∫ m · H dV       H = −Ms N ∗ m

N is a convolution, so a product in Fourier space. One layer: its mz makes hz alone, and mx, my make hx, hy.
"""

import numpy as np

from magray.films.film import Film
from magray.micromagnetics.demag_tensor import fourier_tensor
from magray.micromagnetics.terms.quadratic import Array, quadratic_energy


def field(film: Film, m: Array) -> Array:
    """Demagnetising field, A/m: −Ms ẑ for mz = 1 everywhere, 0 for uniform m in the plane."""
    nxx, nyy, nzz, nxy = fourier_tensor(film.cells, film.cell_size)
    mx, my, mz = np.fft.rfft2(m)
    h = np.stack([nxx * mx + nxy * my, nxy * mx + nyy * my, nzz * mz])
    return -film.Ms * np.fft.irfft2(h, s=m.shape[1:])


def energy_density(film: Film, m: Array) -> float:
    """Demagnetising energy, J/m³; ½ µ0 Ms² for mz = 1 everywhere."""
    return quadratic_energy(film, m, field(film, m))
