"""The tolerance: how far a picture's scale may be from the trained ones before the error doubles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magray.evaluation.metrics import Values

FACTOR = 2.0


@dataclass(frozen=True)
class Band:
    """The scales from `low` to `high`, µm, around the `best` one, where the error stays under FACTOR × `least`.

    open_low, open_high: the error does so up to the last scale that was tested, and perhaps beyond.
    """

    best: float
    least: float
    low: float
    high: float
    open_low: bool
    open_high: bool

    @property
    def width(self) -> float:
        """Return the width of the band, µm."""
        return self.high - self.low


def tolerance_band(scales: Sequence[float], errors: Sequence[float]) -> Band:
    """Return the band of an error curve over test scales, µm. Its ends are interpolated between two tests.

    One scale is a band of no width.
    """
    order = np.argsort(scales)
    x, y = np.asarray(scales, float)[order], np.asarray(errors, float)[order]
    best = int(np.argmin(y))
    bound = FACTOR * y[best]
    low, high = _end(x, y, best, bound, -1), _end(x, y, best, bound, 1)
    return Band(float(x[best]), float(y[best]), low[0], high[0], low[1], high[1])


def _end(x: Values, y: Values, best: int, bound: float, step: int) -> tuple[float, bool]:
    """Return where the curve first reaches `bound` on the way from `best` to one side, and whether it never does."""
    at = best
    while 0 <= at + step < len(x):
        if y[at + step] >= bound:
            part = (bound - y[at]) / (y[at + step] - y[at])
            return float(x[at] + part * (x[at + step] - x[at])), False
        at += step
    return float(x[at]), True
