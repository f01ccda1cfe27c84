"""Views of films: square crops, averaged over areas to 128 × 128 pixels, and rotated by quarter turns.

Every function takes a NumPy array or a torch tensor (on any device) and returns the same kind.

A scale of "1.0 µm" is 256 cells of 4 nm, as in the paper: the micrometre of all scales is 1024 nm.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from magray.errors import UserError

if TYPE_CHECKING:
    import torch

Pictures = TypeVar("Pictures", "NDArray[Any]", "torch.Tensor")
"""Pictures (…, h, w): row, then column."""
Origin = int | NDArray[np.int64]
"""A row or a column: one for all pictures, or one for each."""

Place = float | NDArray[np.floating]
"""A part of a cell: one for all pictures, or one for each."""

VIEW_SIZE = 128
QUARTER_TURNS = 4
VIEWS_AT_ONCE = 512
NM_PER_SCALE_UM = 1024.0
SIDE_TOLERANCE = 0.005  # of a scale's side, for scales that are not a whole number of cells


def cells_of(scale_um: float, pixel_nm: float) -> int:
    """Return the side of a view at `scale_um` in cells of `pixel_nm`.

    Raises UserError where no whole number of cells is within 0.5 % of it.
    """
    if not (scale_um > 0 and pixel_nm > 0):
        raise UserError(f"a scale and a pixel are lengths above 0, not {scale_um:g} µm and {pixel_nm:g} nm")
    side = scale_um * NM_PER_SCALE_UM / pixel_nm
    cells = round(side)
    if abs(cells - side) > SIDE_TOLERANCE * side:
        raise UserError(f"scale {scale_um:g} µm is {side:.4g} pixels of {pixel_nm:g} nm; choose one of whole pixels")
    return cells


def check_room(scales_um: Iterable[float], pixel_nm: float, side: int) -> None:
    """Raise UserError unless each scale is a whole number of cells, `side` at most."""
    for scale in scales_um:
        if (cells := cells_of(scale, pixel_nm)) > side:
            raise UserError(f"scale {scale:g} µm is {cells} cells, and the films have {side}; leave it out")


def scale_of(cells: int, pixel_nm: float) -> float:
    """Return the scale, µm, of a square of `cells` pixels of `pixel_nm`: the inverse of `cells_of`."""
    return cells * pixel_nm / NM_PER_SCALE_UM


def crop(images: Pictures, side: int, row: Origin, col: Origin) -> Pictures:
    """Return squares (n, side, side) of periodic films (n, h, w) from `row`, `col` on, wrapped around the edges.

    Raises UserError where the square is larger than the film.
    """
    n, height, width = images.shape
    _check_fits(side, height, width)
    rows = (np.broadcast_to(row, n)[:, None] + np.arange(side)) % height
    cols = (np.broadcast_to(col, n)[:, None] + np.arange(side)) % width
    squares: Pictures = images[np.arange(n)[:, None, None], rows[:, :, None], cols[:, None, :]]
    return squares


def tiles(images: Pictures, side: int) -> Pictures:
    """Return all squares (n, k, side, side) that tile films (n, h, w) from the first corner on, row by row.

    Raises UserError where the square is larger than the film.
    """
    n, height, width = images.shape
    _check_fits(side, height, width)
    down, across = height // side, width // side
    whole = images[:, : down * side, : across * side].reshape(n, down, side, across, side)
    return whole.swapaxes(2, 3).reshape(n, down * across, side, side)


def squares_in(height: int, width: int, side: int) -> int:
    """Return how many `tiles` a film has."""
    return (height // side) * (width // side)


def rotate(images: Pictures, quarter_turns: int) -> Pictures:
    """Return `images` (…, h, w) rotated by 90° counter-clockwise `quarter_turns` times."""
    if isinstance(images, np.ndarray):
        return np.rot90(images, quarter_turns, (-2, -1))
    return images.rot90(quarter_turns, (-2, -1))


def area_average(images: Pictures, size: int = VIEW_SIZE) -> Pictures:
    """Return float32 means (…, size, size) over the areas of `images` (…, h, w) that the new pixels cover.

    Any ratio of sizes is possible: old pixels count by the part of them that a new pixel covers.
    """
    rows, cols = (_overlap(n, size) for n in images.shape[-2:])
    if isinstance(images, np.ndarray):
        return rows @ images.astype(np.float32) @ cols.T
    import torch

    down, across = (torch.as_tensor(weights, device=images.device) for weights in (rows, cols))
    return down @ images.float() @ across.T


def resample(squares: NDArray[np.floating], spread: float) -> NDArray[np.float32]:
    """Return views (k, 128, 128) of squares (k, h, h): what a Gaussian sees around the middle of each pixel.

    spread: its standard deviation, in pixels of the view. `area_average` would see a square of 192 pixels with a
    pattern of its own, because every second of its pixels begins within one of the square's; and networks see that.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates  # takes a tenth of a second

    step = squares.shape[-1] / VIEW_SIZE
    soft = gaussian_filter(squares, (0, step * spread, step * spread), mode="reflect")
    middles = (np.arange(VIEW_SIZE) + 0.5) * step - 0.5
    places = np.meshgrid(middles, middles, indexing="ij")
    return np.stack([map_coordinates(one, places, order=3, mode="reflect") for one in soft]).astype(np.float32)


def views(images: Pictures, scale_um: float, pixel_nm: float) -> Pictures:
    """Return float32 views (n, k, 128, 128) in grey values, at `scale_um`, that tile films (n, h, w) of `pixel_nm`.

    Raises UserError for a scale that is no whole number of pixels or larger than the film.
    """
    return area_average(tiles(images, cells_of(scale_um, pixel_nm)))


def shifted(images: NDArray[Any], down: Place, across: Place) -> NDArray[np.float32]:
    """Return periodic films (n, h, w) on cells that begin `down` and `across`, 0…1 of a cell, further on.

    Each new cell is the mean over the area that it covers, so that views of the result are those of the given films
    from a place between two cells.
    """
    rows, cols = (np.asarray(part, np.float32).reshape(-1, 1, 1) for part in (down, across))
    moved = (1 - rows) * images + rows * np.roll(images, -1, 1)
    return np.asarray((1 - cols) * moved + cols * np.roll(moved, -1, 2), np.float32)


def to_mz(grey: "torch.Tensor") -> "torch.Tensor":
    """Return mz, −1…1, from grey values 0…255."""
    return grey / 127.5 - 1


def over_views(
    measure: Callable[["torch.Tensor"], NDArray[np.float64]], films: "torch.Tensor", scale_um: float, pixel_nm: float
) -> NDArray[np.float64]:
    """Return `measure`, which maps views (v, 128, 128) to (v, columns), of all views of films: (n, k, columns).

    It gets about VIEWS_AT_ONCE at a time, on the films' device. Raises UserError as `views`.
    """
    k = squares_in(films.shape[1], films.shape[2], cells_of(scale_um, pixel_nm))
    parts = films.split(max(1, VIEWS_AT_ONCE // max(1, k)))  # type: ignore[no-untyped-call]
    measured = [measure(views(part, scale_um, pixel_nm).flatten(0, 1)) for part in parts]
    return np.concatenate([part.reshape(-1, k, part.shape[1]) for part in measured])


@lru_cache(maxsize=32)
def _overlap(n: int, size: int) -> NDArray[np.float32]:
    """Return the weights (size, n) of `n` old pixels in each of `size` new ones. Rows sum to 1."""
    edges = np.arange(size + 1) * (n / size)
    lower, upper = edges[:-1, None], edges[1:, None]
    old = np.arange(n)
    shared = np.minimum(upper, old + 1) - np.maximum(lower, old)
    shares: NDArray[np.float64] = np.clip(shared, 0, None) * (size / n)
    return shares.astype(np.float32)


def _check_fits(side: int, height: int, width: int) -> None:
    if not 0 < side <= min(height, width):
        raise UserError(f"a view of {side} × {side} cells does not fit into a film of {width} × {height} cells")
