"""Find what surrounds or covers a picture: borders, axes and colour bars, banners, scale bars, round fields of view."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, binary_opening, find_objects, label

from magray.errors import UserError
from magray.imaging.scan import Scan

Mask = NDArray[np.bool_]
SAME = 8 / 255  # of the range of grey values, within which a border has one colour
THIN = 15  # pixels: letters, ticks and lines are thinner, pictures are not
AT_ONCE = 0.2  # of the pixels along a picture's side, that have other colours than its border
FULL = 0.98  # of a box that a picture fills
SPINE = 4  # pixels: the line around a picture in a plot is no thicker
SMALLEST = 32  # pixels of a picture that is worth cropping to
BANNER = (4, 0.3)  # pixels at least, and of the height at most
RARE = 0.03  # of the pixels, that have the colour of a scale bar
BAR = (0.05, 0.6)  # of the width, that a scale bar takes
DISK = (0.5, 0.9)  # of the pixels, that a round field of view covers
UNMEASURED = (0.02, 0.75)  # of the pixels: a smaller part is filled, and a larger one leaves too little


class Box(NamedTuple):
    """A part of a picture, from its upper left corner, pixels."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width} × {self.height} pixels at ({self.x}, {self.y})"


def framed(scan: Scan) -> tuple[Box, str] | None:
    """Return the picture in a border of one colour, which may hold axes and a colour bar."""
    alike = _alike(scan.values, float(scan.values[0, 0]))
    if scan.colours is not None:
        alike &= (np.abs(scan.colours.astype(np.int16) - scan.colours[0, 0]) <= 8).all(-1)
    sides = (alike[:2].all(), alike[-2:].all(), alike[:, :2].all(), alike[:, -2:].all())
    if sum(sides) < 3 or alike.all():
        return None
    box = _largest_part(alike) or _margins_off(alike)
    return None if box is None else (_without_spine(scan.values, box), "a border of one colour")


def _margins_off(alike: Mask) -> Box | None:
    """Return what is left without lines of only the border's colour, if all around it other colours begin at once.

    Around a few domains in a saturated film they do not.
    """
    rows, columns = (np.flatnonzero(~alike.all(axis)) for axis in (1, 0))
    box = Box(columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
    part = alike[box.y : box.y + box.height, box.x : box.x + box.width]
    sides = (part[0], part[-1], part[:, 0], part[:, -1])
    if min(box.width, box.height) < SMALLEST or any((~side).mean() < AT_ONCE for side in sides):
        return None
    return Box(*map(int, box))


def _largest_part(alike: Mask) -> Box | None:
    """Return the largest box that is full of other colours than the border's, as a plot without its labels."""
    inside = binary_fill_holes(~alike)
    thick = min(THIN, max(3, min(alike.shape) // 16))
    labels, count = label(binary_opening(inside, np.ones((thick, thick), bool)))
    if not count:
        return None
    largest = 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    rows, columns = find_objects(labels)[largest - 1]
    box = Box(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    if min(box.width, box.height) < SMALLEST or (labels[rows, columns] == largest).mean() < FULL:
        return None
    return box


def _without_spine(values: NDArray[Any], box: Box) -> Box:
    """Return a box without lines of one grey value along its sides, the axes of a plot."""
    part = np.asarray(values[box.y : box.y + box.height, box.x : box.x + box.width], np.float64)
    limit = 0.1 * float(np.ptp(part))

    def lines(side: NDArray[Any]) -> int:
        return next((n for n in range(SPINE, 0, -1) if np.ptp(np.quantile(side[n - 1], [0.1, 0.9])) < limit), 0)

    top, bottom, left, right = (lines(side) for side in (part, part[::-1], part.T, part.T[::-1]))
    if sum(count > 0 for count in (top, bottom, left, right)) < 3:
        return box
    return Box(box.x + left, box.y + top, box.width - left - right, box.height - top - bottom)


def without_banner(scan: Scan) -> tuple[Box, str] | None:
    """Return the picture without a banner above or below: rows of text on one grey value that the rest hardly has."""
    values = scan.values
    height, width = values.shape
    for upside, side in ((False, values[::-1]), (True, values)):
        level = _mode(side[: BANNER[0]])
        share = (side == level).mean(1)
        rows = int(np.argmax(share < 0.5)) if (share < 0.5).any() else height
        text = share[:rows].min(initial=1) < 0.95
        if BANNER[0] <= rows <= BANNER[1] * height and text and (side[rows:] == level).mean() < RARE:
            return Box(0, rows if upside else 0, width, height - rows), "a banner with text"
    return None


def without_scale_bar(scan: Scan) -> tuple[Box, str] | None:
    """Return the picture without the strip that holds a burned-in scale bar.

    A bar is a box of exactly one extreme grey value, wider than high, that few other pixels have. Raises UserError if
    it lies so far inside that the rest would be less than two thirds.
    """
    values = scan.values
    height, width = values.shape
    for level in (values.max(), values.min()):
        drawn = values == level
        if not 0 < drawn.mean() < RARE:
            continue
        bars = [bar for bar in find_objects(_large_parts(drawn, BAR[0] * width)) if _is_bar(drawn, bar, width)]
        if len(bars) != 1:
            continue
        near = drawn.any(1).nonzero()[0]
        middle = (bars[0][0].start + bars[0][0].stop) / 2
        near = near[np.abs(near - middle) < height / 6]  # its number stands above or below it
        first, last = int(near.min()), int(near.max()) + 1
        if last <= height / 3:
            return Box(0, last, width, height - last), "a scale bar"
        if first >= 2 * height / 3:
            return Box(0, 0, width, first), "a scale bar"
        raise UserError("a scale bar is drawn into the picture; crop to a part without it, with --crop x,y,w,h")
    return None


def _large_parts(drawn: Mask, least: float) -> NDArray[np.intp]:
    """Return the labels of the connected parts with at least so many pixels: to look at each single one takes long."""
    labels, _ = label(drawn)
    large = np.bincount(labels.ravel()) >= least
    large[0] = False
    return np.asarray(np.where(large, np.cumsum(large), 0)[labels])


def _is_bar(drawn: Mask, box: tuple[slice, slice], width: int) -> bool:
    down, across = (side.stop - side.start for side in box)
    return bool(BAR[0] <= across / width <= BAR[1] and across >= 4 * down and down >= 2 and drawn[box].mean() > 0.95)


def field_of_view(scan: Scan) -> tuple[Box, str] | None:
    """Return the largest square in a round field of view, outside of which all pixels have one value or none."""
    values = scan.values
    corners = values[[0, 0, -1, -1], [0, -1, 0, -1]]
    if not (np.isnan(corners).all() or (corners == corners[0]).all()):
        return None
    outside = np.isnan(values) if np.isnan(corners).all() else values == corners[0]
    labels, _ = label(outside)
    at_corners = {int(labels[row, column]) for row in (0, -1) for column in (0, -1)}
    inside = ~np.isin(labels, list(at_corners))
    if not DISK[0] < inside.mean() < DISK[1]:
        return None
    rows, columns = inside.nonzero()
    y, x, radius = rows.mean(), columns.mean(), math.sqrt(inside.sum() / math.pi)
    away = np.hypot(*(np.ogrid[: values.shape[0], : values.shape[1]][axis] - at for axis, at in ((0, y), (1, x))))
    if (inside == (away < radius)).mean() < FULL:
        return None
    half = int((radius - 1) / math.sqrt(2))
    box = Box(round(x) - half, round(y) - half, 2 * half, 2 * half)
    return box, "a round field of view"


def measured_part(scan: Scan) -> tuple[Box, str] | None:
    """Return the largest part beside a box in a corner that has one value, or none: a dead detector, or half a scan.

    Elsewhere hardly any pixel has this value, so that it is no domain in a saturated picture.
    """
    values = scan.values
    height, width = values.shape
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        level = float(values[row, column])
        same = np.isnan(values) if np.isnan(level) else values == level
        labels, _ = label(same)
        there = labels == labels[row, column]
        if not UNMEASURED[0] < there.mean() < UNMEASURED[1]:
            continue
        down, across = find_objects(there.astype(np.int8))[0]
        fills = there[down, across].mean() > FULL and min(*there[down, across].shape) >= THIN
        if not (fills and (same & ~there).mean() < RARE):
            continue
        beside = (
            Box(0, 0, across.start, height),
            Box(across.stop, 0, width - across.stop, height),
            Box(0, 0, width, down.start),
            Box(0, down.stop, width, height - down.stop),
        )
        largest = max(beside, key=lambda box: (min(box.width, box.height), box.width * box.height))
        if min(largest.width, largest.height) >= SMALLEST:
            return largest, "a part that was not measured"
    return None


def _alike(values: NDArray[Any], level: float) -> Mask:
    """Return which pixels have a grey value, up to what compression makes of it."""
    if np.isnan(level):
        return np.asarray(np.isnan(values), bool)
    spread = float(np.nanmax(values)) - float(np.nanmin(values))
    return np.asarray(np.abs(values - level) <= SAME * spread, bool)


def _mode(values: NDArray[Any]) -> float:
    found, counts = np.unique(values, return_counts=True)
    return float(found[counts.argmax()])
