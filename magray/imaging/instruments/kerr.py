"""Polar Kerr and Faraday microscopy: a difference picture of light, through a lens.

The lens is incoherent and free of aberrations, of numerical aperture NA at a wavelength λ. Its point spread is Airy's,
(2 J1(v) / v)² with v = 2π NA r / λ, whose first zero lies at 0.61 λ / NA and which passes

    T(k) = 2/π (arccos ν − ν √(1 − ν²))        ν = k λ / (4π NA), nothing beyond ν = 1

With a small uncrossing of the analyser the light is I (1 + C mz). The camera counts electrons, N in the middle of the
picture; the light falls off as the square of the distance from its centre. A background of the saturated or
demagnetised film is taken before, with the same exposure, and the picture is

    picture / background − 1

so that uneven light cancels out, but for a drift of its centre and of its strength in between, and noise counts twice.

Sources: Born and Wolf, Principles of Optics, section 8.5.2; Goodman, Introduction to Fourier Optics, chapter 6; Hubert
and Schäfer, Magnetic Domains, chapter 2; McCord, J. Phys. D 48, 333001 (2015).
"""

import math
from dataclasses import dataclass

import torch

from magray.imaging.instruments.magnetisation import Magnetisation, column
from magray.imaging.instruments.ranges import Length, Log, Ranges, Ratio


@dataclass(frozen=True)
class Kerr:
    """Microscopes, one for each picture: all (n,), SI. The fields are those of `KerrRanges`."""

    aperture: torch.Tensor
    wavelength: torch.Tensor
    contrast: torch.Tensor
    electrons: torch.Tensor
    shading: torch.Tensor
    centre: torch.Tensor
    drift: torch.Tensor
    flicker: torch.Tensor

    @property
    def resolution(self) -> torch.Tensor:
        """The shortest period that the lens passes, λ / (2 NA)."""
        return self.wavelength / (2 * self.aperture)

    def signal(self, film: Magnetisation) -> torch.Tensor:
        """Return C mz as the lens shows it, (n, h, w): the change of the light, relative."""
        cutoff = 4 * math.pi * self.aperture / self.wavelength
        nu = (film.waves.k / column(cutoff)).clamp(max=1.0)
        passed = 2 / math.pi * (nu.arccos() - nu * (1 - nu**2).sqrt())
        return column(self.contrast) * film.filtered(passed * torch.fft.rfft2(film.mz))

    def measured(self, picture: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Return the relative change of the light (n, h, w) as a camera and a background give it."""
        before = column(self.electrons) * self._light(picture, self.centre)
        after = column(self.electrons * (1 + self.flicker)) * self._light(picture, self.centre + self.drift)
        counted = torch.poisson(after * (1 + picture), generator)
        background = torch.poisson(before, generator)
        return counted / background.clamp(min=1.0) - 1

    def _light(self, picture: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
        """Return the light, relative to that in its centre."""
        down, across = (torch.linspace(-1, 1, side, device=picture.device) for side in picture.shape[1:])
        return 1 - column(self.shading) * (down[:, None] ** 2 + (across - column(centre)) ** 2) / 2


@dataclass(frozen=True)
class KerrRanges(Ranges):
    """The ranges of a microscope's parameters.

    contrast: C. electrons: of a pixel, of all frames that are averaged. shading: what the corners lack of the light, if
    its centre is in the middle. centre, drift: of the light, along x, in half sides. flicker: of the lamp, relative.
    """

    aperture: Ratio = (0.6, 1.3)
    wavelength: Length = (400e-9, 650e-9)
    contrast: Log = (2e-3, 5e-2)
    electrons: Log = (1e5, 1e7)
    shading: Ratio = (0.0, 0.5)
    centre: Ratio = (-0.5, 0.5)
    drift: Ratio = (-0.02, 0.02)
    flicker: Ratio = (-0.01, 0.01)

    def draw(self, count: int, generator: torch.Generator | None = None, device: torch.device | None = None) -> Kerr:
        """Return microscopes for `count` pictures."""
        return Kerr(**self.values(count, generator, device))
