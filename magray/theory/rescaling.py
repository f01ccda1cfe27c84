"""Rescaling: |D| from a whole picture, whatever its pattern, since a pattern in equilibrium resists being stretched.

The stray field would have the domains narrower, the walls' energy wider. Both follow from the picture, turned into up
and down, by `magray.theory.patterns`: the stray field from its spectrum, the walls from their length.
"""

import numpy as np
import scipy.fft
from scipy.ndimage import gaussian_filter, zoom

from magray.theory.patterns import Array, Layer, Pattern, dmi_of_pattern

FINER = 4  # times, before a picture is turned into up and down, so that its walls are smooth lines
BLUR = 6.0  # of these finer pixels, to measure the length of walls
WALL = 4 / np.sqrt(np.pi)  # ∫ (1 − erf²(x / √2)) dx: what a blurred wall lacks of m² = 1, in widths of the blur
BINS = 8  # of |k|, in a step of the spectrum


def dmi_of_picture(layer: Layer, mz: Array, pixel: float, periodic: bool = False) -> float:
    """Return |D| of a film with this picture (height, width), walls where mz is 0, J/m². NaN if no D fits; pixel: m.

    periodic: whether the picture repeats itself, as that of a whole simulated film does.
    """
    return dmi_of_pattern(layer, picture_pattern(mz, pixel, periodic))


def picture_pattern(mz: Array, pixel: float, periodic: bool = False) -> Pattern:
    """Return the spectrum and the length of walls of a picture, turned into up and down."""
    mode = "grid-wrap" if periodic else "nearest"
    finer = zoom(np.asarray(mz, np.float64), FINER, order=1, mode=mode, grid_mode=True)
    domains = np.where(finer > 0, 1.0, -1.0)
    soft = gaussian_filter(domains, BLUR, mode="wrap" if periodic else "nearest")
    walls = (1 - np.mean(soft**2)) / (WALL * BLUR * pixel / FINER)
    return Pattern(*_spectrum(domains - domains.mean(), pixel / FINER, periodic), float(walls))


def _spectrum(domains: Array, pixel: float, periodic: bool) -> tuple[Array, Array]:
    """Return wave numbers, 1/m, and the power at each, summed over directions; together the mean of the squares."""
    height, width = domains.shape
    if not periodic:
        window = np.outer(np.hanning(height), np.hanning(width))
        domains = domains * window / np.sqrt(np.mean(window**2))
    power = np.abs(scipy.fft.rfft2(domains, norm="forward")) ** 2
    power[:, 1 : (width + 1) // 2] *= 2  # these stand for their opposites, too
    k = 2 * np.pi * np.hypot(scipy.fft.fftfreq(height)[:, None], scipy.fft.rfftfreq(width)[None, :]) / pixel
    step = 2 * np.pi / (max(height, width) * pixel) / BINS
    bins = np.rint(k / step).astype(int).ravel()
    sums = np.asarray(np.bincount(bins, weights=power.ravel()), np.float64)
    means = np.bincount(bins, weights=(power * k).ravel()) / np.where(sums > 0, sums, 1)
    kept = sums > 0
    kept[0] = False
    return means[kept], sums[kept]
