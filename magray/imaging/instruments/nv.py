"""Scanning nitrogen-vacancy magnetometry: the stray field along the axis of a defect in a diamond tip.

    B = µ0 u·H = µ0 (k cos θ − i (k·u) sin θ) φ

with the potential φ of the film's stray field at the height of the defect (`stray_field`) and the defect's axis u at an
angle θ to the normal: 54.7° in common tips, whose faces are (100). The defect is a point. Without a bias field its two
resonances do not tell the sign, and the picture is |B|; that and white noise are what the detector adds.

Sources: Rondin et al., Rep. Prog. Phys. 77, 056503 (2014); for the field of a wall, Tetienne et al., Nat. Commun. 6,
6733 (2015).
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch

from magray.imaging.instruments.magnetisation import Magnetisation, column
from magray.imaging.instruments.ranges import Angle, Drawn, Interval, Length, Ranges, Ratio, white
from magray.imaging.instruments.stray_field import along, potential
from magray.units import MU0


@dataclass(frozen=True)
class Nv:
    """Magnetometers, one for each picture: all (n,), SI; angles in rad. unsigned: 1 where |B| is seen, else 0."""

    height: torch.Tensor
    angle: torch.Tensor
    azimuth: torch.Tensor
    unsigned: torch.Tensor
    noise: torch.Tensor

    @property
    def resolution(self) -> torch.Tensor:
        """The height."""
        return self.height

    def signal(self, film: Magnetisation) -> torch.Tensor:
        """Return B along the axes, or its absolute value, (n, h, w), T."""
        field = MU0 * film.filtered(along(film, self.angle, self.azimuth) * potential(film, self.height))
        return torch.where(column(self.unsigned) > 0.5, field.abs(), field)

    def measured(self, picture: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Return fields (n, h, w), T, with noise."""
        return picture + white(picture, generator) * column(self.noise)


@dataclass(frozen=True)
class NvRanges(Ranges):
    """The ranges of a magnetometer's parameters.

    height: from the film's face to the defect. unsigned: |B| is seen where the draw is above 0.5.
    """

    height: Length = (30e-9, 120e-9)
    angle: Angle = (math.radians(50), math.radians(60))
    azimuth: Angle = (0.0, 2 * math.pi)
    unsigned: Ratio = (0.0, 1.0)
    noise: Annotated[Interval, Drawn("induction", log=True)] = (2e-6, 5e-5)

    def draw(self, count: int, generator: torch.Generator | None = None, device: torch.device | None = None) -> Nv:
        """Return magnetometers for `count` pictures."""
        return Nv(**self.values(count, generator, device))
