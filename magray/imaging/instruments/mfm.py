"""Magnetic force microscopy: the gradient of the force on a tip that is scanned above the film.

The tip is a bar, magnetised along the normal, of length L and with a Gaussian cross-section of width s, whose lower end
carries the pole q and whose upper end −q. Its cantilever swings along n, canted by β against the normal. With the
potential φ of the film's stray field at the lift height (`stray_field`),

    ∂F/∂n = −µ0 q (1 − exp(−kL)) exp(−k² s² / 2) (k cos β − i (k·e) sin β)² φ        e: n in the plane

A long bar is a monopole, and senses the first derivative of Hz; a short one is a dipole of moment q L, and senses the
second. The phase of the oscillation shifts by Q/c times the gradient (quality factor Q, spring constant c), so that its
picture is this one but for a factor. The noise is white, with an offset from row to row, and scars: parts of rows in
which the tip had jumped.

Sources: transfer function of the film and of the canted lever, Hug et al., J. Appl. Phys. 83, 5609 (1998); of the tip,
van Schendel et al., J. Appl. Phys. 88, 435 (2000); a bar with two poles is also the tip of mumax3's MFM images; thermal
noise of the gradient, √(4 kB T c B / (ω Q ⟨z²⟩)), about 1e-5 N/m: Albrecht et al., J. Appl. Phys. 69, 668 (1991).
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch

from magray.imaging.instruments.magnetisation import Magnetisation, column
from magray.imaging.instruments.ranges import Angle, Drawn, Interval, Length, Ranges, Ratio, white
from magray.imaging.instruments.stray_field import along, potential
from magray.units import MU0

LONGEST_SCAR = 0.5  # of a row


@dataclass(frozen=True)
class Mfm:
    """Force microscopes, one for each picture: all (n,), SI; angles in rad. The fields are those of `MfmRanges`."""

    lift: torch.Tensor
    pole: torch.Tensor
    tip_width: torch.Tensor
    tip_length: torch.Tensor
    canting: torch.Tensor
    azimuth: torch.Tensor
    noise: torch.Tensor
    row_noise: torch.Tensor
    scars: torch.Tensor

    @property
    def resolution(self) -> torch.Tensor:
        """The lift."""
        return self.lift

    def signal(self, film: Magnetisation) -> torch.Tensor:
        """Return the gradient of the force (n, h, w), N/m."""
        k = film.waves.k
        tip = -torch.expm1(-k * column(self.tip_length)) * torch.exp(-0.5 * (k * column(self.tip_width)) ** 2)
        lever = along(film, self.canting, self.azimuth) ** 2
        return film.filtered(-MU0 * column(self.pole) * tip * lever * potential(film, self.lift))

    def measured(self, picture: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Return gradients (n, h, w), N/m, with noise, offsets of rows and scars."""
        count, height, width = picture.shape
        rows = white(picture[:, :, :1], generator) * column(self.row_noise)
        shown = picture + white(picture, generator) * column(self.noise) + rows
        struck, start, length = torch.rand(3, count, height, 1, generator=generator, device=picture.device)
        place = torch.arange(width, device=picture.device) / width
        scar = (struck < column(self.scars)) & (place >= start) & (place < start + LONGEST_SCAR * length)
        jump = 3 * white(rows, generator) * picture.std((1, 2), keepdim=True)
        return shown + torch.where(scar, jump, 0.0)


@dataclass(frozen=True)
class MfmRanges(Ranges):
    """The ranges of a force microscope's parameters.

    lift: from the film's face to the pole, with the tip's coating. pole: of Co, 1.4 MA/m times 200 to 2000 nm² of its
    cross-section. scars: the share of rows that have one.
    """

    lift: Length = (15e-9, 80e-9)
    pole: Annotated[Interval, Drawn("pole", log=True, signed=True)] = (3e-10, 3e-9)
    tip_width: Length = (5e-9, 25e-9)
    tip_length: Annotated[Interval, Drawn("length", log=True)] = (50e-9, 5e-6)
    canting: Angle = (0.0, math.radians(15))
    azimuth: Angle = (0.0, 2 * math.pi)
    noise: Annotated[Interval, Drawn("stiffness", log=True)] = (1e-5, 1e-4)
    row_noise: Annotated[Interval, Drawn("stiffness")] = (0.0, 2e-5)
    scars: Ratio = (0.0, 0.02)

    def draw(self, count: int, generator: torch.Generator | None = None, device: torch.device | None = None) -> Mfm:
        """Return force microscopes for `count` pictures."""
        return Mfm(**self.values(count, generator, device))
