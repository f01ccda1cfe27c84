"""XMCD-PEEM, STXM and SEMPA: the asymmetry of two counts, with the light or the spin one way and the other.

    s = point spread ∗ (m · u)        N± ~ Poisson(N/2 (1 ± P s))        picture = (N+ − N−) / (N+ + N−)

with a Gaussian point spread of a full width at half maximum (the resolution), the direction u of the light or of the
detector, and the contrast P: what circular dichroism, or the polarisation of secondary electrons and the detector's own
asymmetry, leave of a saturated film. The variance of the picture is (1 − P² s²) / N where N is large. STXM looks along
the normal; PEEM at 16° to 30° above the plane, where it also sees components in the plane; SEMPA measures any one
component.

Sources: Stöhr and Siegmann, Magnetism (Springer, 2006), chapter 10; for SEMPA, Unguris in Magnetic Imaging and its
Applications to Materials (Academic Press, 2001).
"""

import math
from dataclasses import dataclass

import torch

from magray.imaging.instruments.magnetisation import Magnetisation, column
from magray.imaging.instruments.ranges import Angle, Length, Log, Ranges

WIDTHS = math.sqrt(8 * math.log(2))  # full width at half maximum of a Gaussian, over its standard deviation


@dataclass(frozen=True)
class Asymmetry:
    """Instruments, one for each picture: all (n,), SI; angles in rad. The fields are those of `StxmRanges`."""

    resolution: torch.Tensor
    incidence: torch.Tensor
    azimuth: torch.Tensor
    contrast: torch.Tensor
    counts: torch.Tensor

    def signal(self, film: Magnetisation) -> torch.Tensor:
        """Return P s (n, h, w). Where only mz is known, components in the plane count as 0."""
        seen = column(self.incidence.cos()) * film.mz
        if film.in_plane:
            across = column(self.azimuth.cos()) * film.m[:, 0] + column(self.azimuth.sin()) * film.m[:, 1]
            seen = seen + column(self.incidence.sin()) * across
        blur = torch.exp(-0.5 * (film.waves.k * column(self.resolution) / WIDTHS) ** 2)
        return column(self.contrast) * film.filtered(blur * torch.fft.rfft2(seen))

    def measured(self, picture: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Return asymmetries (n, h, w) as they are counted."""
        half = column(self.counts) / 2
        up, down = (torch.poisson(half * (1 + way * picture), generator) for way in (1, -1))
        return (up - down) / (up + down).clamp(min=1.0)


@dataclass(frozen=True)
class StxmRanges(Ranges):
    """The ranges of a transmission microscope's parameters.

    resolution: full width at half maximum. incidence: angle to the normal. azimuth: in the plane, to x. contrast: P.
    counts: N of a pixel, both ways together.
    """

    resolution: Length = (15e-9, 50e-9)
    incidence: Angle = (0.0, 0.0)
    azimuth: Angle = (0.0, 2 * math.pi)
    contrast: Log = (0.01, 0.2)
    counts: Log = (1e3, 1e6)

    @property
    def oblique(self) -> bool:
        """Whether components in the plane are seen."""
        return self.incidence != (0.0, 0.0)

    def draw(
        self, count: int, generator: torch.Generator | None = None, device: torch.device | None = None
    ) -> Asymmetry:
        """Return instruments for `count` pictures."""
        return Asymmetry(**self.values(count, generator, device))


@dataclass(frozen=True)
class PeemRanges(StxmRanges):
    """The ranges of a photoemission microscope's parameters."""

    resolution: Length = (25e-9, 100e-9)
    incidence: Angle = (math.radians(60), math.radians(74))
    contrast: Log = (0.02, 0.3)
    counts: Log = (1e2, 1e5)


@dataclass(frozen=True)
class SempaRanges(StxmRanges):
    """The ranges of a scanning electron microscope with polarisation analysis, which measures the normal component."""

    resolution: Length = (10e-9, 70e-9)
    contrast: Log = (0.02, 0.1)
    counts: Log = (1e3, 1e5)
