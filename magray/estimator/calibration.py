"""Calibrate error bars on films that a fit never saw, at trained and at untrained scales."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from magray.estimator.metadata import Calibration
from magray.estimator.predictor import Predictor
from magray.imaging import cells_of, scale_of

COVERAGE = 0.68  # fraction of true values within an error bar, as within one standard deviation of a normal error
MIN_FILMS_FOR_SHRINKAGE = 30  # with fewer films the factor is noise
EIGHTHS = range(2, 9)  # of a film's side: scales at which errors are measured, besides the trained ones


def calibrate(
    predictor: Predictor,
    images: NDArray[np.uint8],
    values: NDArray[np.float64],
    pixel_nm: float,
    train_scales_um: Sequence[float],
) -> Calibration:
    """Return the errors of `predictor` on `images` (n, ny, nx) of films with true `values` (n, targets), SI."""
    scales = calibration_scales(min(images.shape[1:]), pixel_nm, train_scales_um)
    films = torch.from_numpy(images).to(predictor.device)
    at_scales = [_shrinkages_and_errors(predictor, films, values, scale, pixel_nm) for scale in scales]
    names = [target.name for target in predictor.targets]
    errors = {name: tuple(levels[name][0][1] for levels in at_scales) for name in names}
    several = {name: tuple(levels[name][1:] for levels in at_scales) for name in names}
    return Calibration(scales, errors, len(images), several)


def calibration_scales(side: int, pixel_nm: float, trained_um: Sequence[float]) -> tuple[float, ...]:
    """Return the trained scales, and scales from a quarter of a film of `side` cells to all of it; µm, ascending."""
    cells = {round(side * eighths / 8) for eighths in EIGHTHS} | {cells_of(scale, pixel_nm) for scale in trained_um}
    return tuple(scale_of(n, pixel_nm) for n in sorted(cells))


def conformal_quantile(errors: NDArray[np.float64]) -> float:
    """Return the conformal quantile of `errors` (n,): a new error is at most this with probability COVERAGE.

    It is the largest error if n is too small for that.
    """
    n = len(errors)
    return float(np.sort(errors)[min(n, math.ceil((n + 1) * COVERAGE)) - 1])


def _shrinkages_and_errors(
    predictor: Predictor, films: torch.Tensor, values: NDArray[np.float64], scale_um: float, pixel_nm: float
) -> dict[str, tuple[tuple[float, float], ...]]:
    """Return (shrinkage, error) for means over 1, 2, 4, … views of a film, by target; the first shrinkage is 1."""
    estimated, by_target = predictor.predict_films(films, scale_um, pixel_nm), {}
    views = estimated.shape[1]
    for number, target in enumerate(predictor.targets):
        true, levels = values[:, number, None] - target.mean, []
        for pictures in (2**doubled for doubled in range(views.bit_length())):
            grouped = estimated[:, : views // pictures * pictures, number] - target.mean
            means = grouped.reshape(len(films), -1, pictures).mean(axis=2)
            shrinkage = 1.0 if pictures == 1 else shrinkage_of(means, true)
            levels.append((shrinkage, conformal_quantile(np.abs(shrinkage * means - true).ravel())))
        by_target[target.name] = tuple(levels)
    return by_target


def shrinkage_of(means: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    """Return the least-squares factor from `means` (films, k) to `true` (films, 1), relative to the training mean."""
    if len(means) < MIN_FILMS_FOR_SHRINKAGE or not means.any():
        return 1.0
    return float(np.sum(means * true) / np.sum(means * means))
