"""Error bars from films that a fit never saw: what the errors were there, at trained and at untrained scales."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from magray.imaging import cells_of, scale_of
from magray.learning.estimator import Calibration, Estimator

COVERAGE = 0.68  # of the true values lie within an error bar, as within one standard deviation of a normal error
EIGHTHS = range(2, 9)  # of a film's side: the scales at which errors are measured, besides the trained ones


def calibrate(
    estimator: Estimator, images: NDArray[np.uint8], values: NDArray[np.float64], pixel_nm: float
) -> Calibration:
    """The errors of `estimator` on `images` (n, ny, nx) of films with true `values` (n, targets), SI."""
    scales = calibration_scales(min(images.shape[1:]), pixel_nm, estimator.description.train_scales_um)
    films = torch.from_numpy(images).to(estimator.device)
    bars = [_error_bars(estimator, films, values, scale, pixel_nm) for scale in scales]
    errors = {target.name: tuple(float(bar[i]) for bar in bars) for i, target in enumerate(estimator.targets)}
    return Calibration(scales, errors, len(images))


def calibration_scales(side: int, pixel_nm: float, trained_um: Sequence[float]) -> tuple[float, ...]:
    """Scales from a quarter of a film of `side` cells to all of it, and the trained ones; µm, ascending."""
    cells = {round(side * eighths / 8) for eighths in EIGHTHS} | {cells_of(scale, pixel_nm) for scale in trained_um}
    return tuple(scale_of(n, pixel_nm) for n in sorted(cells))


def conformal_quantile(errors: NDArray[np.float64]) -> float:
    """The error (of n) that a further one stays below with a probability of COVERAGE or more; else the largest."""
    n = len(errors)
    return float(np.sort(errors)[min(n, math.ceil((n + 1) * COVERAGE)) - 1])


def _error_bars(
    estimator: Estimator, films: torch.Tensor, values: NDArray[np.float64], scale_um: float, pixel_nm: float
) -> list[float]:
    """One for each target, over all views at one scale."""
    errors = np.abs(estimator.predict_films(films, scale_um, pixel_nm) - values[:, None])
    return [conformal_quantile(column) for column in errors.reshape(-1, values.shape[1]).T]
