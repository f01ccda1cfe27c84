"""The cells of a film, and the neighbours of each of them."""

import numpy as np
from numpy.typing import NDArray

from magray.films.film import Film

SIDES = ((-1, -1), (-1, 1), (-2, -1), (-2, 1))  # array axis and direction: left, right, below, above


def mask(film: Film) -> NDArray[np.bool_]:
    """Return True for the cells of the film, (ny, nx): all, or those whose middle lies in the ellipse."""
    nx, ny = film.cells
    if film.open_edges != "ellipse":
        return np.ones((ny, nx), np.bool_)
    # in whole numbers, so that every backend draws the same line
    x, y = (2 * np.arange(nx) + 1 - nx) * ny, (2 * np.arange(ny) + 1 - ny) * nx
    return np.asarray(x[None, :] ** 2 + y[:, None] ** 2 <= (nx * ny) ** 2)


def neighbours(film: Film) -> NDArray[np.bool_]:
    """Return whether each cell has a neighbour on each of the SIDES: (4, ny, nx)."""
    cells = mask(film)
    has = np.stack([np.roll(cells, -step, axis=axis) for axis, step in SIDES])
    for side, (axis, step) in enumerate(SIDES):
        if film.open_axes[-1 - axis]:
            edge = -1 if step > 0 else 0
            has[side][(slice(None), edge) if axis == -1 else (edge, slice(None))] = False
    return has
