"""A model of a microscope: point spread, noise, and the removal of uneven illumination.

    picture = mz, convolved with a Gaussian point spread, + white noise from pixel to pixel

Brightness, contrast and uneven illumination are properties of the instrument, not of the film. So the plane that fits a
picture best is subtracted from it, and the rest is scaled to a standard deviation of 1.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from magray.errors import UserError
from magray.imaging.picture_files import grey_range
from magray.imaging.views import NM_PER_SCALE_UM, VIEW_SIZE, area_average, to_mz

NARROW = 0.05  # pixels: a point spread below that changes nothing
NEEDS_SCALE = "this estimator needs the picture's scale; give it in µm, or the size of a pixel in nm"
FLAT = 1e-3  # of mz: a picture that varies less is not scaled up
BAND_LIMIT = 0.5  # pixels: blur of every view that the any-film estimator learns from


@dataclass(frozen=True)
class InstrumentRanges:
    """The ranges that a picture's blur, in pixels, and its noise, in units of mz, are drawn from, uniformly.

    A share of the pictures, `processed`, has been through a program since: their noise is smoothed, too, by a Gaussian
    of up to `smoothing` pixels, and their contrast curve is a power, from 1/`gamma` to `gamma`.
    """

    blur: tuple[float, float]
    noise: tuple[float, float]
    processed: float = 0.0
    smoothing: float = 0.0
    gamma: float = 1.0


CLEAN = InstrumentRanges((BAND_LIMIT, 0.8), (0.01, 0.01))  # of simulated pictures, for the any-film estimator
MICROSCOPE = InstrumentRanges((BAND_LIMIT, 2.2), (0.01, 0.3))
PROCESSED = replace(MICROSCOPE, processed=0.5, smoothing=1.8, gamma=2.5)


@dataclass(frozen=True)
class Microscope:
    """The ranges in which every picture draws its blur and its noise, uniformly.

    blur_nm: the standard deviation of the point spread; its full width at half maximum is 2.35 times that. noise: the
    standard deviation of the white noise, in units of mz, in which bright and dark domains are 2 apart. blur_pixels:
    the standard deviation of a further blur, in pixels of the picture, so that it is the same at every scale. Variances
    of both blurs add up, and a picture has its place in both ranges in common.
    """

    blur_nm: tuple[float, float]
    noise: tuple[float, float]
    blur_pixels: tuple[float, float] = (0.0, 0.0)

    def __str__(self) -> str:
        blur = "a point spread of {:g} to {:g} nm".format(*self.blur_nm)
        if any(self.blur_pixels):
            blur += " and {:g} to {:g} pixels".format(*self.blur_pixels)
        return blur + " and noise of {:g} to {:g}".format(*self.noise)

    def pictures(
        self, views: torch.Tensor, scales_um: torch.Tensor, generator: torch.Generator | None = None, of_film: int = 1
    ) -> torch.Tensor:
        """Return float32 pictures (n, h, h), detrended, of `views` (n, h, h) in units of mz at `scales_um` (n,).

        of_film: how many in a row are of one film and share their blur and noise level.
        """
        drawn = torch.rand(2, len(views) // of_film, generator=generator, device=views.device)
        if of_film > 1:
            drawn = drawn.repeat_interleave(of_film, dim=1)
        blur_nm, blur_pixels, noise = (
            low + (high - low) * drawn[part]
            for (low, high), part in ((self.blur_nm, 0), (self.blur_pixels, 0), (self.noise, 1))
        )
        shown = blurred(views.float(), torch.hypot(blur_nm * VIEW_SIZE / (scales_um * NM_PER_SCALE_UM), blur_pixels))
        white = torch.randn(shown.shape, generator=generator, device=views.device)
        return detrend(shown + noise[:, None, None] * white)


def apply_microscope(
    views: torch.Tensor, scale_um: float | None, microscope: Microscope | None, of_film: int = 1
) -> torch.Tensor:
    """Return pictures (n, h, h) of `views` (n, h, h), grey values 0…255, seen through `microscope`, if any.

    The noise is the same in every call. of_film: how many in a row are of one film. Raises UserError without a scale
    where the microscope needs it.
    """
    pictures = to_mz(views.float())
    if microscope is None:
        return pictures
    if scale_um is None:
        raise UserError(NEEDS_SCALE)
    scales_um = torch.full((len(views),), scale_um, device=views.device)
    return microscope.pictures(pictures, scales_um, torch.Generator(views.device).manual_seed(0), of_film)


def render_picture(image: NDArray[np.uint8], scale_um: float, microscope: Microscope) -> NDArray[np.uint8]:
    """Return the picture (128, 128), in full contrast, of the square of a film in `image` (h, h)."""
    seen = apply_microscope(torch.from_numpy(area_average(image[None])), scale_um, microscope)[0].numpy()
    low, high = grey_range(seen)
    return np.rint(np.clip((seen - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def blurred(pictures: torch.Tensor, spreads: torch.Tensor) -> torch.Tensor:
    """Return `pictures` (n, h, h) float32 convolved with Gaussians of standard deviations `spreads` (n,), in pixels.

    At an edge the mean is over the known part of the picture.
    """
    pixel = torch.arange(pictures.shape[-1], device=pictures.device)
    squares = (pixel[:, None] - pixel).square()
    weights = torch.exp(-squares / (2 * spreads.clamp(min=NARROW).square()[:, None, None]))
    weights = weights / weights.sum(-1, keepdim=True)
    return weights @ pictures @ weights.mT


def detrend(pictures: torch.Tensor) -> torch.Tensor:
    """Return `pictures` (n, h, h) minus the planes that fit them best, divided by the standard deviation."""
    place = torch.linspace(-1, 1, pictures.shape[-1], device=pictures.device)
    square = place.square().mean()
    level = pictures.mean((1, 2), keepdim=True)
    across = (pictures.mean(1) @ place / len(place) / square)[:, None, None]
    down = (pictures.mean(2) @ place / len(place) / square)[:, None, None]
    left = pictures - level - across * place - down * place[:, None]
    return left / left.square().mean((1, 2), keepdim=True).sqrt().clamp(min=FLAT)
