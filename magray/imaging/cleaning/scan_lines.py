"""Mend what detectors and scans do: missing and dead pixels, scars, shifted rows, a tilt."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt, label, median_filter, rank_filter, uniform_filter1d

from magray.errors import UserError

Array = NDArray[Any]
OUTER = 0.005  # of the pixels, at each end of the contrast, that do not count for it
JUMP, FAINT_JUMP = 0.2, 0.1  # of the contrast, between a scar and the rows that it should resemble
DEAD = 0.5  # of the contrast, between a dead pixel and all of its neighbours but one, which may be dead too
STUCK = 0.25  # of the pixels at an end of the range, that differ from their neighbours: then all of them are dead
MOST_MISSING = 0.25  # of the pixels
MOST_DEAD = 0.1  # of the pixels; more is noise, which is no fault of single pixels
SCAR = 8  # pixels along a row, at least
MOST_SCARS = 0.1  # of the pixels
SHIFT = 0.05  # of the contrast, from row to row
LEAST_ROWS = 4  # among whose steps a scan's can be told
TILT = 0.3  # of the variance, that a plane explains
ROW = np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]])  # what is connected in a row
RING = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)


def mend_pixels(values: Array) -> tuple[Array, str] | None:
    """Fill pixels without a value, and those that differ from their neighbours, from what surrounds them."""
    missing = ~np.isfinite(values)
    if missing.mean() > MOST_MISSING:
        raise UserError(f"{missing.mean():.0%} of its pixels have no value; crop to a part that was measured")
    mended = values.astype(np.float64)
    if missing.any():
        nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
        mended = np.where(missing, median_filter(mended[tuple(nearest)], 5, mode="nearest"), mended)
    dead = _dead(mended)
    if not 0 < dead.mean() <= MOST_DEAD:
        dead[:] = False
    if not (missing.any() or dead.any()):
        return None
    mended = np.where(dead, median_filter(mended, 3, mode="nearest"), mended)
    said = [f"{count} {what}" for count, what in ((missing.sum(), "missing"), (dead.sum(), "dead")) if count]
    return mended.astype(_floating(values)), f"{' and '.join(said)} pixels filled from their neighbours"


def _dead(values: Array) -> NDArray[np.bool_]:
    jump = DEAD * _contrast(values)
    above = values > rank_filter(values, -2, footprint=RING, mode="nearest") + jump
    below = values < rank_filter(values, 1, footprint=RING, mode="nearest") - jump
    dead = np.asarray((above | below) & (jump > 0))
    for end in (values.min(), values.max()):
        there = values == end  # also in a domain of about this value, where it does not show
        if dead[there].mean() >= STUCK:
            dead |= there
    return dead


def mend_scars(values: Array) -> tuple[Array, str] | None:
    """Replace parts of single rows that differ from the rows above and below, by the mean of these.

    Rows are compared as means over SCAR pixels, in which noise is weaker. Walls and saturation break scars into pieces,
    so in a row with a scar, parts that differ less are mended as well.
    """
    smooth, contrast = uniform_filter1d(values.astype(np.float64), SCAR, axis=1, mode="nearest"), _contrast(values)
    if contrast <= 0:
        return None
    above, row, below = smooth[:-2], smooth[1:-1], smooth[2:]
    found = np.zeros(values.shape, bool)
    for off in (row - np.maximum(above, below), np.minimum(above, below) - row):
        struck = _runs(off > JUMP * contrast).any(1, keepdims=True)
        found[1:-1] |= struck & binary_dilation(off > FAINT_JUMP * contrast, np.ones((1, SCAR + 1), bool))
    if not 0 < found.mean() < MOST_SCARS:
        return None
    mended = values.astype(np.float64)
    mended[1:-1] = np.where(found[1:-1], (mended[:-2] + mended[2:]) / 2, mended[1:-1])
    return mended.astype(_floating(values)), f"{found.any(1).sum()} rows with scars mended"


def _runs(wrong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of runs along rows that are as long as a scar."""
    runs, _ = label(wrong, ROW)
    return np.asarray((np.bincount(runs.ravel())[runs] >= SCAR) & wrong)


def level_rows(values: Array) -> tuple[Array, str] | None:
    """Shift rows so that the median difference of neighbours is 0, where rows jump to and fro as scans do.

    Walls along the rows make differences of one sign one after the other, jumps of opposite signs.
    """
    if len(values) < LEAST_ROWS:
        return None
    steps = np.median(np.diff(values.astype(np.float64), axis=0), axis=1)
    spread, contrast = float(steps.std()), _contrast(values)
    if contrast <= 0 or spread < SHIFT * contrast:
        return None
    deviations = steps - steps.mean()
    if float((deviations[1:] * deviations[:-1]).mean()) > -0.2 * spread**2:
        return None
    shifts = np.concatenate([[0.0], np.cumsum(steps)])
    mended = values - shifts[:, None]
    return mended.astype(_floating(values)), f"rows shifted, by {spread / contrast:.0%} of the contrast"


def level_plane(values: Array) -> tuple[Array, str] | None:
    """Subtract the plane that fits best, where it makes much of the picture."""
    height, width = values.shape
    down, across = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    centred = values.astype(np.float64) - values.mean(dtype=np.float64)
    plane = (centred * across).mean() / (across**2).mean() * across + (centred * down).mean() / (down**2).mean() * down
    variance = float(centred.var())
    share = float(plane.var()) / variance if variance > 0 else 0.0
    if share < TILT:
        return None
    return (values - plane).astype(_floating(values)), f"a plane subtracted, {share:.0%} of the variance"


def _contrast(values: Array) -> float:
    low, high = np.nanquantile(values, [OUTER, 1 - OUTER])
    return float(high - low)


def _floating(values: Array) -> np.dtype[Any]:
    return values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
