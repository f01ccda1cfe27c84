"""The steps of cleaning, in their order. Pictures without a fault pass all of them unchanged."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

from magray.errors import UserError, shortened
from magray.imaging.cleaning.colour_maps import undone
from magray.imaging.cleaning.frames import Box, field_of_view, framed, measured_part, without_banner, without_scale_bar
from magray.imaging.cleaning.scan_lines import level_plane, level_rows, mend_pixels, mend_scars
from magray.imaging.scan import Scan

SQUARE = 0.01  # of the width of a pixel: a smaller difference to its height does not matter


@dataclass(frozen=True, eq=False)
class Cleaned:
    """A cleaned picture (h, w), its pixel (square, m, or None if unknown), and what was done to it, a line a step."""

    values: NDArray[Any]
    pixel: float | None
    done: tuple[str, ...]


Found = tuple[Scan, str] | None
Repair = Callable[[NDArray[Any]], tuple[NDArray[Any], str] | None]


def _cropped(find: Callable[[Scan], tuple[Box, str] | None]) -> Callable[[Scan], Found]:
    def step(scan: Scan) -> Found:
        found = find(scan)
        return None if found is None else (cut(scan, found[0]), f"{found[1]}: cropped to {found[0]}")

    return step


def _repaired(repair: Repair) -> Callable[[Scan], Found]:
    def step(scan: Scan) -> Found:
        found = repair(scan.values)
        return None if found is None else (replace(scan, values=found[0]), found[1])

    return step


def _colours(scan: Scan) -> Found:
    found = None if scan.colours is None else undone(scan.colours)
    return None if found is None else (replace(scan, values=found[0], colours=None), found[1])


def _square(scan: Scan) -> Found:
    """Stretch the picture along the side of its longer pixels."""
    if scan.pixel is None or abs(scan.pixel[0] / scan.pixel[1] - 1) < SQUARE:
        return None
    width, height = scan.pixel
    side = min(scan.pixel)
    values = zoom(
        np.asarray(scan.values, np.float64), (height / side, width / side), order=1, grid_mode=True, mode="nearest"
    )
    said = f"pixels of {width * 1e9:.4g} × {height * 1e9:.4g} nm made square"
    return replace(scan, values=values, pixel=(side, side), colours=None), said


STEPS: dict[str, Callable[[Scan], Found]] = {
    "frame": _cropped(framed),
    "banner": _cropped(without_banner),
    "scale-bar": _cropped(without_scale_bar),
    "colours": _colours,
    "field": _cropped(field_of_view),
    "unmeasured": _cropped(measured_part),
    "pixels": _repaired(mend_pixels),
    "scars": _repaired(mend_scars),
    "rows": _repaired(level_rows),
    "plane": _repaired(level_plane),
    "square": _square,
}


def steps_of(text: str) -> tuple[str, ...]:
    """Return the steps in a text: all, none, a list such as "rows,plane", or all but some: "-colours,-frame"."""
    if text in ("all", "none"):
        return tuple(STEPS) if text == "all" else ()
    words = [word.strip() for word in text.split(",")]
    if unknown := [word for word in words if word.removeprefix("-") not in STEPS]:
        raise UserError(f"--clean: {shortened(unknown[0])} is no step; there are {', '.join(STEPS)}, all and none")
    if all(word.startswith("-") for word in words):
        return tuple(step for step in STEPS if f"-{step}" not in words)
    return tuple(step for step in STEPS if step in words)


def clean(scan: Scan, steps: Iterable[str] = tuple(STEPS)) -> Cleaned:
    """Return a picture without the faults that the steps find. Raises UserError for those that cannot be mended."""
    done, wanted = [], set(steps)
    for name, step in STEPS.items():
        if name in wanted and (found := step(scan)) is not None:
            scan = found[0]
            done.append(f"{name}: {found[1]}")
    side = None
    if scan.pixel is not None:
        if abs(scan.pixel[0] / scan.pixel[1] - 1) >= SQUARE:
            raise UserError("has pixels that are not square; clean it with the step square")
        side = scan.pixel[0]
    return Cleaned(scan.values, side, tuple(done))


def cut(scan: Scan, box: Box) -> Scan:
    """Return the part of a scan in a box. Raises UserError if the box does not lie in it."""
    height, width = scan.values.shape
    if not (0 <= box.x < box.x + box.width <= width and 0 <= box.y < box.y + box.height <= height):
        raise UserError(f"the crop {box} does not lie in the picture of {width} × {height} pixels")
    rows, columns = slice(box.y, box.y + box.height), slice(box.x, box.x + box.width)
    colours = None if scan.colours is None else scan.colours[rows, columns]
    return replace(scan, values=scan.values[rows, columns], colours=colours)
