"""Periodic films as instruments see them, and filters of their pictures in Fourier space."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch


@dataclass(frozen=True)
class Magnetisation:
    """The moments of n periodic films, uniform through their thickness.

    m: unit vectors (n, 3, h, w), or mz alone, (n, h, w). cell: the side of a square cell, m. thickness: m. Ms: A/m. The
    last three are tensors (n,).
    """

    m: torch.Tensor
    cell: torch.Tensor
    thickness: torch.Tensor
    Ms: torch.Tensor

    @property
    def mz(self) -> torch.Tensor:
        """The component along the normal, (n, h, w)."""
        return self.m[:, 2] if self.in_plane else self.m

    @property
    def in_plane(self) -> bool:
        """Whether the components in the plane are known."""
        return self.m.ndim == 4

    @cached_property
    def waves(self) -> "Waves":
        """The wave vectors of the pictures' spectra."""
        return Waves.of(self.m.shape[-2], self.m.shape[-1], self.cell)

    def filtered(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return the pictures (n, h, w) of spectra, as `torch.fft.rfft2` gives them."""
        pictures: torch.Tensor = torch.fft.irfft2(spectrum, s=self.m.shape[-2:])
        return pictures


@dataclass(frozen=True)
class Waves:
    """Wave vectors of `torch.fft.rfft2`, rad/m: k (n, h, w/2 + 1), and their directions x and y, 0 where k is 0.

    At the highest wave number of an even side, a direction is 0 as well: a real picture has no derivative there.
    """

    k: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor

    @classmethod
    def of(cls, height: int, width: int, cell: torch.Tensor) -> "Waves":
        """Return those of pictures (n, height, width) with cells (n,), m."""
        cell = cell[:, None, None]
        kx = 2 * math.pi * torch.fft.rfftfreq(width, device=cell.device) / cell
        ky = 2 * math.pi * torch.fft.fftfreq(height, device=cell.device)[:, None] / cell
        k = torch.hypot(kx, ky)
        some = torch.where(k > 0, k, 1.0)
        return cls(k, _without_highest(kx, width, -1) / some, _without_highest(ky, height, -2) / some)


def _without_highest(component: torch.Tensor, side: int, axis: int) -> torch.Tensor:
    place = torch.arange(component.shape[axis], device=component.device)
    kept = (place * 2 != side).float()
    return component * (kept if axis == -1 else kept[:, None])


def column(values: torch.Tensor) -> torch.Tensor:
    """Return values (n,) as (n, 1, 1), to go with pictures."""
    return values[:, None, None]
