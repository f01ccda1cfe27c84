"""Views of films for the any-film estimator: turned by any angle, mirrored, of any size and contrast, band-limited.

A view is what a Gaussian of half a pixel sees of the periodic film, at pixels that are no multiples of its cells: no
texture of the cells is left for a network to learn from.
"""

import math
from collections.abc import Callable

import torch

from magray.imaging import VIEW_SIZE
from magray.imaging.microscope import BAND_LIMIT
from magray.network.execution import ExecutionConfig
from magray.network.kernels.kernels import compile_for
from magray.network.kernels.turned import TurnedViews

NARROWEST = 0.4  # cells: a narrower Gaussian sees single cells
TAILS = 3.0  # widths of the Gaussian that are summed over

# Views (b, 128, 128) float32, −1…1, of films (n, ny, nx) uint8, some of them (b,), in geometries (b, 8)
Views = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def reach_of(largest_pixel: float) -> int:
    """Return the cells on either side that the Gaussian of a pixel of so many cells needs."""
    return math.ceil(TAILS * max(BAND_LIMIT * largest_pixel, NARROWEST))


def views_of(device: torch.device, reach: int, execution: ExecutionConfig) -> Views:
    """Return the fastest way to make views on a device."""
    if execution.kernels:
        return TurnedViews(compile_for(device), reach)
    return lambda images, index, geometry: turned_views(images, index, geometry, reach)


def turned_views(images: torch.Tensor, index: torch.Tensor, geometry: torch.Tensor, reach: int) -> torch.Tensor:
    """Return views as `turned.cu` defines them, by PyTorch's operations."""
    height, width = images.shape[1:]
    place = torch.arange(VIEW_SIZE, device=images.device) + 0.5 - VIEW_SIZE / 2
    i, j = place[:, None], place[None, :]
    g = geometry[:, :, None, None]
    x, y = g[:, 4] + g[:, 0] * j + g[:, 1] * i, g[:, 5] + g[:, 2] * j + g[:, 3] * i
    narrow, nearest_x, nearest_y = -0.5 / g[:, 6].square(), x.round(), y.round()
    films, first = images.reshape(-1), index[:, None, None] * (height * width)
    steps = range(-reach, reach + 1)
    weights = [torch.exp(narrow * (nearest_x + step - x) ** 2) for step in steps]
    columns = [(nearest_x.long() + step) % width for step in steps]
    total, sum_y = torch.zeros_like(x), torch.zeros_like(x)
    for step in steps:
        row = first + (nearest_y.long() + step) % height * width
        weight = torch.exp(narrow * (nearest_y + step - y) ** 2)
        for across, column in zip(weights, columns, strict=True):
            total += weight * across * films[row + column].float()
        sum_y += weight
    return (total / (torch.stack(weights).sum(0) * sum_y) / 127.5 - 1) * g[:, 7]


def random_geometry(pixel: torch.Tensor, side: int) -> torch.Tensor:
    """Return rows (b, 8) of views with pixels of so many cells (b,), anywhere in a film, of any turn and contrast."""
    drawn = torch.rand(5, len(pixel), device=pixel.device)
    angle, mirror, contrast = drawn[0] * (2 * math.pi), _sign(drawn[1]), _sign(drawn[2])
    along, across = angle.cos() * pixel, angle.sin() * pixel
    blur = (BAND_LIMIT * pixel).clamp(min=NARROWEST)
    corners = (drawn[3] * side, drawn[4] * side)
    return torch.stack([along * mirror, -across, across * mirror, along, *corners, blur, contrast], 1)


def _sign(drawn: torch.Tensor) -> torch.Tensor:
    return (drawn < 0.5).float() * 2 - 1
