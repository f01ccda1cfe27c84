"""Pictures of crops, in two ways with the same result.

`render` crops and averages squares of one size at a time, by the functions of `magray.imaging`. `gather` computes each
pixel from the films' cells in one pass, which torch.compile turns into one kernel.
"""

from collections.abc import Iterable

import numpy as np
import torch

from magray.imaging import VIEW_SIZE, area_average, crop, rotate, to_mz
from magray.imaging.views import QUARTER_TURNS
from magray.training.crops import Crops


def render(images: torch.Tensor, crops: torch.Tensor) -> torch.Tensor:
    """Return views (b, 128, 128) float32, −1…1, of `crops` (b, 5), in their order, from films (n, ny, nx) uint8."""
    all_crops = Crops(*crops.cpu().numpy().T)
    views = torch.empty(len(all_crops), VIEW_SIZE, VIEW_SIZE, device=images.device)
    for side in np.unique(all_crops.side):
        for turns in range(QUARTER_TURNS):
            chosen = np.flatnonzero((all_crops.side == side) & (all_crops.orientation % QUARTER_TURNS == turns))
            if len(chosen):
                alike = all_crops[chosen]
                squares = crop(images[alike.film], int(side), alike.row, alike.col)
                views[chosen] = rotate(area_average(squares), turns)
    mirrored, inverted = (crops[:, 4, None, None].to(views.device) // order % 2 for order in (4, 8))
    return torch.where(mirrored == 1, views.flip(-1), views).div_(127.5).sub_(1).mul_(1 - 2 * inverted)


def gather(images: torch.Tensor, crops: torch.Tensor, cells: int) -> torch.Tensor:
    """Return the same views as `render`, in one pass. cells: in a row that a pixel may touch, `max_cells` or more.

    A pixel covers side/128 cells each way. In units of 1/128 of a cell all lengths are whole numbers, so that the
    weights are exact. Cells that a pixel does not touch have weight 0.
    """
    side, film, row, col, orientation = (column[:, None, None] for column in crops.int().unbind(1))
    height, width = images.shape[1:]
    i, j = _unrotated(orientation, images.device)
    first_cell = film.long() * (height * width)
    pixels = images.flatten()
    total = torch.zeros(1, device=images.device)
    for down in range(cells):
        y, rows = _touched(i, side, down)
        line = torch.zeros(1, device=images.device)
        for across in range(cells):
            x, cols = _touched(j, side, across)
            place = _wrapped(row + y, height) * width + _wrapped(col + x, width)
            line = line + pixels[first_cell + place] * cols
        total = total + line * rows
    grey = total / (side * side).float()
    return to_mz(grey) * (1 - 2 * (orientation // 8 % 2))


def max_cells(sides: Iterable[int]) -> int:
    """Return the largest number of cells in a row that a pixel touches, for views of any of `sides`."""
    ends = np.arange(VIEW_SIZE + 1)
    return max(int((-(-ends[1:] * side // VIEW_SIZE) - ends[:-1] * side // VIEW_SIZE).max()) for side in sides)


def _unrotated(orientation: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return row and column in the original view of each pixel (b, 128, 128) of the rotated and mirrored one."""
    last = VIEW_SIZE - 1
    pixel = torch.arange(VIEW_SIZE, dtype=torch.int32, device=device)
    i, j = pixel[:, None], pixel[None, :]
    j = torch.where(orientation // QUARTER_TURNS % 2 == 1, last - j, j)
    turns = orientation % QUARTER_TURNS
    back_i = torch.where(turns == 0, i, torch.where(turns == 1, j, torch.where(turns == 2, last - i, last - j)))
    back_j = torch.where(turns == 0, j, torch.where(turns == 1, last - i, torch.where(turns == 2, last - j, i)))
    return back_i, back_j


def _touched(pixel: torch.Tensor, side: torch.Tensor, further: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cell `further` cells after the first that a pixel touches, and its overlap with it in 1/128 cells."""
    start = pixel * side
    cell = start // VIEW_SIZE + further
    end = torch.minimum(start + side, (cell + 1) * VIEW_SIZE)
    shared = (end - torch.maximum(start, cell * VIEW_SIZE)).clamp(min=0)
    return torch.minimum(cell, side - 1), shared


def _wrapped(place: torch.Tensor, length: int) -> torch.Tensor:
    """Return `place`, which is less than twice `length`, on a periodic film."""
    return torch.where(place >= length, place - length, place)
