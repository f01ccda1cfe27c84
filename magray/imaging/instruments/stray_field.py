"""The stray field above a film, from the charges of its faces and of its walls.

In Fourier space, at a height z above a film of thickness t whose moments do not vary through it,

    φ = Ms / (2k) · (1 − exp(−kt)) exp(−kz) · (mz − i k·m / k)        H = −∇φ = (−i kx, −i ky, k) φ

The first term is that of the charges ±Ms mz of the two faces, the second of the volume charges −Ms ∇·m of Néel walls.
Derivatives along z multiply by −k each. Source: Hug et al., J. Appl. Phys. 83, 5609 (1998), for the faces; the volume
charges follow from Poisson's equation in the same way.
"""

import torch

from magray.imaging.instruments.magnetisation import Magnetisation, column


def potential(film: Magnetisation, height: torch.Tensor) -> torch.Tensor:
    """Return the spectrum (n, h, w/2 + 1) of the magnetic potential, A, at heights (n,), m, above the upper face.

    Where only mz is known, walls have no charges.
    """
    waves = film.waves
    some = torch.where(waves.k > 0, waves.k, 1.0)
    depth = -torch.expm1(-waves.k * column(film.thickness)) / (2 * some)  # 0 at k = 0, where H is 0
    charges = torch.fft.rfft2(film.mz)
    if film.in_plane:
        mx, my = torch.fft.rfft2(film.m[:, 0]), torch.fft.rfft2(film.m[:, 1])
        charges = charges - 1j * (waves.x * mx + waves.y * my)
    spectrum: torch.Tensor = column(film.Ms) * depth * torch.exp(-waves.k * column(height)) * charges
    return spectrum


def along(film: Magnetisation, incidence: torch.Tensor, azimuth: torch.Tensor) -> torch.Tensor:
    """Return the factor of φ that gives H along axes at angles (n,) to the normal, and in the plane to x."""
    waves = film.waves
    across = waves.x * column(azimuth.cos()) + waves.y * column(azimuth.sin())
    return waves.k * (column(incidence.cos()) - 1j * across * column(incidence.sin()))
