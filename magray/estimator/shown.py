"""Show pictures to the network of any film: squares of them, as the training's pictures are."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from magray.estimator.trust import domain_pictures
from magray.imaging import VIEW_SIZE, grey_range, to_mz
from magray.imaging.microscope import CLEAN, detrend
from magray.imaging.views import resample

MOST_TILES = 4  # squares of a picture that are seen
PIXEL = 12**-0.5  # pixels: standard deviation of the mean over a pixel
SHARPNESS, FAINTEST = (sum(ends) / 2 for ends in (CLEAN.blur, CLEAN.noise))  # pixels, units of mz: of the training


@dataclass(frozen=True)
class ShownPicture:
    """A picture as it is shown to the network: views (k, 128, 128), the size of their pixel, m, and who took it."""

    views: torch.Tensor
    pixel: float
    instrument: str | None

    @cached_property
    def no_domains(self) -> str | None:
        """Return why it shows no domains; None where it does."""
        return domain_pictures(self.instrument).reason(self.views.numpy())


def seen_as_in_training(squares: NDArray[np.float32], instrument: str | None) -> torch.Tensor:
    """Return views (k, 128, 128) of squares (k, h, h) of a picture, grey values 0…255, as the training shows them.

    Means over the pixels of a simulation are sharper than its pictures and without any noise, and a network that has
    seen no such picture takes walls for narrower than they are.
    """
    if instrument != "none":
        return detrend(to_mz(torch.from_numpy(resample(squares, PIXEL))))
    views = to_mz(torch.from_numpy(resample(squares, SHARPNESS)))
    return detrend(views + FAINTEST * torch.randn(views.shape, generator=torch.Generator().manual_seed(0)))


def seen_squares(
    picture: NDArray[Any], pixel: float, instrument: str | None, resolves: Callable[[float], bool] = lambda _: True
) -> ShownPicture:
    """Return what the network sees of a picture (h, w), of at least 128 × 128 pixels of a size in m.

    That is the largest squares in which the picture shows domains as simulated pictures do, and whose pixels resolve
    its walls; the whole picture if there are none.
    """
    shorter, first = int(min(picture.shape)), None
    for parts in (1, 2, 4, 8):
        side = shorter // parts
        if side < VIEW_SIZE:
            break
        views = seen_as_in_training(_covering(_full_contrast(picture), side), instrument)
        shown = ShownPicture(views, pixel * side / VIEW_SIZE, instrument)
        first = first or shown
        if resolves(shown.pixel) and shown.no_domains is None:
            return shown
    assert first is not None
    return first


def _covering(picture: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return squares (k, side, side) that cover a picture (h, w) and overlap if they must; MOST_TILES of more."""
    down, across = (np.linspace(0, length - side, -(-length // side)).astype(int) for length in picture.shape)
    corners = [(y, x) for y in down for x in across]
    some = np.linspace(0, len(corners) - 1, min(MOST_TILES, len(corners))).round().astype(int)
    return np.stack([picture[y : y + side, x : x + side] for y, x in (corners[k] for k in some)])


def _full_contrast(picture: NDArray[Any]) -> NDArray[np.float32]:
    low, high = grey_range(picture)
    return np.clip((picture.astype(np.float64) - low) * (255 / (high - low)), 0, 255).astype(np.float32)
