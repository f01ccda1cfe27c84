"""Measures of error over all views of a test. `true` and `estimated` are arrays (n,) in one unit."""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def r2(true: Values, estimated: Values) -> float:
    """Return the coefficient of determination: 1 is perfect, 0 as good as the mean. NaN if `true` is constant."""
    spread = np.sum((true - true.mean()) ** 2)
    return float(1 - np.sum((estimated - true) ** 2) / spread) if spread > 0 else float("nan")


def mae(true: Values, estimated: Values) -> float:
    """Return the mean absolute error."""
    return float(np.mean(np.abs(estimated - true)))


def bias(true: Values, estimated: Values) -> float:
    """Return the mean error, above 0 if the estimates are too high. NaN if there are none."""
    return float(np.mean(estimated - true)) if true.size else float("nan")
