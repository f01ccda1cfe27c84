"""A microscope: what stands between a film and a picture of it.

    picture = mz, convolved with a Gaussian point spread, + white noise from pixel to pixel

Brightness, contrast, and uneven light are the instrument's and say nothing of the film. So pictures are levelled: the
plane that fits one best is taken away, and what is left has a spread of 1.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from magray.errors import UserError
from magray.imaging.picture_files import grey_range
from magray.imaging.views import NM_PER_SCALE_UM, VIEW_SIZE, area_average, to_mz

NARROW = 0.05  # pixels: a point spread below that changes nothing
NEEDS_SCALE = "this estimator needs the picture's scale; give it in µm, or the size of a pixel in nm"
FLAT = 1e-3  # of mz: a picture that varies less than that stays flat


@dataclass(frozen=True)
class Microscope:
    """Least and most of what every picture draws of its own, uniformly.

    blur_nm: the standard deviation of the point spread; its full width at half maximum is 2.35 times that. noise: the
    standard deviation of the white noise, in units of mz, in which bright and dark domains are 2 apart.
    """

    blur_nm: tuple[float, float]
    noise: tuple[float, float]

    def __str__(self) -> str:
        return "a point spread of {:g} to {:g} nm and noise of {:g} to {:g}".format(*self.blur_nm, *self.noise)

    def pictures(
        self, views: torch.Tensor, scales_um: torch.Tensor, generator: torch.Generator | None = None, of_film: int = 1
    ) -> torch.Tensor:
        """Float32 pictures (n, h, h), levelled, of `views` (n, h, h) in units of mz at `scales_um` (n,).

        of_film: so many in a row are of one film, and seen through the same instrument.
        """
        drawn = torch.rand(2, len(views) // of_film, generator=generator, device=views.device)
        if of_film > 1:
            drawn = drawn.repeat_interleave(of_film, dim=1)
        blur_nm, noise = (
            low + (high - low) * part for (low, high), part in zip((self.blur_nm, self.noise), drawn, strict=True)
        )
        shown = blurred(views.float(), blur_nm * VIEW_SIZE / (scales_um * NM_PER_SCALE_UM))
        white = torch.randn(shown.shape, generator=generator, device=views.device)
        return detrend(shown + noise[:, None, None] * white)


def apply_microscope(
    views: torch.Tensor, scale_um: float | None, microscope: Microscope | None, of_film: int = 1
) -> torch.Tensor:
    """Pictures (n, h, h) of films' `views` (n, h, h), grey values 0…255, at a scale.

    As they are, or through a microscope: always with the same noise. of_film: so many in a row are of one film. Raises
    UserError without a scale where the microscope needs it.
    """
    pictures = to_mz(views.float())
    if microscope is None:
        return pictures
    if scale_um is None:
        raise UserError(NEEDS_SCALE)
    scales_um = torch.full((len(views),), scale_um, device=views.device)
    return microscope.pictures(pictures, scales_um, torch.Generator(views.device).manual_seed(0), of_film)


def render_picture(image: NDArray[np.uint8], scale_um: float, microscope: Microscope) -> NDArray[np.uint8]:
    """What a file (128, 128) has of the square of a film in `image` (h, h), in full contrast."""
    seen = apply_microscope(torch.from_numpy(area_average(image[None])), scale_um, microscope)[0].numpy()
    low, high = grey_range(seen)
    return np.rint(np.clip((seen - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def blurred(pictures: torch.Tensor, spreads: torch.Tensor) -> torch.Tensor:
    """`pictures` (n, h, h) float32 under Gaussian point spreads of standard deviations (n,) in pixels.

    What lies beyond an edge is unknown: there a pixel is a mean over the part that is known.
    """
    pixel = torch.arange(pictures.shape[-1], device=pictures.device)
    squares = (pixel[:, None] - pixel).square()
    weights = torch.exp(-squares / (2 * spreads.clamp(min=NARROW).square()[:, None, None]))
    weights = weights / weights.sum(-1, keepdim=True)
    return weights @ pictures @ weights.mT


def detrend(pictures: torch.Tensor) -> torch.Tensor:
    """`pictures` (n, h, h) less the planes that fit them best, in units of the standard deviation of what is left."""
    place = torch.linspace(-1, 1, pictures.shape[-1], device=pictures.device)
    square = place.square().mean()
    level = pictures.mean((1, 2), keepdim=True)
    across = (pictures.mean(1) @ place / len(place) / square)[:, None, None]
    down = (pictures.mean(2) @ place / len(place) / square)[:, None, None]
    left = pictures - level - across * place - down * place[:, None]
    return left / left.square().mean((1, 2), keepdim=True).sqrt().clamp(min=FLAT)
