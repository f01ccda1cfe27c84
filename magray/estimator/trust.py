"""Decide whether a picture shows domains, by its distance from simulated pictures in a few statistics.

A picture whose noise hides whatever it may show is none: pictures of white noise alone are not far from the simulated
ones through an instrument that hardly sees its film.

The statistics do not depend on the sign, the size or the level of the contrast. A picture lies as far from the
simulated ones as from the NEIGHBOURS-th nearest of them, in statistics that are decorrelated to a standard deviation
of 1. Of simulated pictures of further films, seen as they are or through a microscope, 1 % lie farther than the limit.
Instruments that do not show mz have simulated pictures of their own.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from magray.errors import UserError
from magray.files.atomic import atomic_write
from magray.imaging import VIEW_SIZE
from magray.imaging.instruments import RANGES
from magray.imaging.statistics import domain_statistics

Array = NDArray[np.float64]
Trust = Literal["trusted", "doubtful", "refused"]

DOMAIN_PICTURES = Path(__file__).parent / "domain_pictures"  # of films of every perpendicular material, by instrument
MZ = "mz"  # those of pictures as they are, and blurred and noisy
NEIGHBOURS = 5
FALSE_REFUSALS = 0.01  # of simulated pictures
SMOOTHEST = 1e-3  # variance that is added to each of the decorrelated statistics
TENSORS = ("statistics", "mean", "spread", "whitening", "limit")
SMOOTH = 1.5  # pixels: standard deviation of the blur under which domains are found despite noise
BLOCKS = 4  # along a side, whose contrasts are compared
LEAST = 1e-3  # of a statistic of which a logarithm is taken
# The roughness of noise that hides a picture: white noise alone has 0.87 (its contrast without what a blur of a pixel
# leaves), and a picture that is 0.7 correlated with another one of the same place, both blurred by SMOOTH, has 0.84.
LOUDEST = 0.84

STATISTICS = {  # and what a picture has too much or too little of where one of them is unusual
    "period": "the distance of its domains",
    "wave number": "the mean distance of its details",
    "wall density": "the length of its walls",
    "order": "the alignment of its walls",
    "balance": "the difference of its bright and dark areas",
    "roughness": "its noise",
    "flatness": "its grey values between two levels",
    "evenness": "the difference of contrast from place to place",
    "long waves": "the difference of brightness from place to place",
    "wall width": "the width of its walls",
}


@dataclass(frozen=True)
class DomainPictures:
    """The statistics (n, 10) of simulated pictures, decorrelated, and the distance that 1 % of such exceed.

    Those of one estimator's own films have the logarithm of the picture's scale, µm, as an eleventh.
    """

    statistics: Array
    mean: Array
    spread: Array
    whitening: Array
    limit: float

    @classmethod
    def of(
        cls, statistics: Array, films: NDArray[np.integer], scales_um: NDArray[np.floating] | None = None
    ) -> "DomainPictures":
        """Return those of views by their `picture_statistics`. films, scales_um (n,): of each view.

        The limit is that of a film's pictures among those of all others.
        """
        found = _with_scales(statistics, scales_um)
        mean, spread = found.mean(0), found.std(0)
        covariance = np.cov(((found - mean) / spread).T) + SMOOTHEST * np.eye(found.shape[1])
        whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
        white = (found - mean) / spread @ whitening
        distances = [_distances(white[films == film], white[films != film]) for film in np.unique(films)]
        return cls(white, mean, spread, whitening, float(np.quantile(np.concatenate(distances), 1 - FALSE_REFUSALS)))

    @classmethod
    def load(cls, path: Path) -> "DomainPictures":
        """Return those that `save` wrote. Raises UserError for a damaged file."""
        try:
            tensors = safetensors.numpy.load_file(path)
            statistics, mean, spread, whitening = (tensors[name].astype(np.float64) for name in TENSORS[:-1])
            made = cls(statistics, mean, spread, whitening, float(tensors["limit"][0]))
            blank = np.zeros((1, VIEW_SIZE, VIEW_SIZE))
            made.distances(blank, None if len(mean) == len(STATISTICS) else 1.0)
        except (safetensors.SafetensorError, OSError, ValueError, KeyError, IndexError) as error:
            raise UserError(f"{path} does not hold statistics of domain pictures; install magray again") from error
        return made

    def save(self, path: Path) -> None:
        """Write the statistics to a file, with the precision that they need."""
        tensors = {name: np.ascontiguousarray(np.atleast_1d(getattr(self, name)), np.float32) for name in TENSORS}
        with atomic_write(path) as unfinished:
            unfinished.write_bytes(safetensors.numpy.save(tensors))

    def distances(self, views: NDArray[np.floating], scale_um: float | None = None) -> Array:
        """Return the distances (n,) of views (n, 128, 128), over the limit: above 1 it is no such picture."""
        scales = None if scale_um is None else np.full(len(views), scale_um)
        return self._over_limit(_with_scales(picture_statistics(views), scales))

    def reason(self, views: NDArray[np.floating]) -> str | None:
        """Return why most of the views (n, 128, 128) of a picture are no domain pictures; None if they are."""
        found = picture_statistics(views)
        if np.median(found[:, list(STATISTICS).index("roughness")]) > np.log(LOUDEST):
            return "the picture does not look like domains: its noise would hide them"
        distance = float(np.median(self._over_limit(found)))
        if distance <= 1:
            return None
        unusual = list(STATISTICS.values())[int(np.argmax(np.abs(found.mean(0) - self.mean) / self.spread))]
        return (
            f"the picture does not look like domains: it is {distance:.2f} times as far from simulated pictures as "
            f"99 % of such are (most unusual: {unusual})"
        )

    def _over_limit(self, statistics: Array) -> Array:
        white = (statistics - self.mean) / self.spread @ self.whitening
        return np.asarray(self._tree.query(white, NEIGHBOURS)[0][:, -1] / self.limit)

    def covers(self, scale_um: float | None) -> bool:
        """Return whether there are pictures of this scale and more."""
        from magray.config.scales import SAME_SCALE  # takes a quarter of a second, which any-film need not pay

        if scale_um is None:
            return False
        scales = np.exp(self.correlated()[:, -1])
        return bool(scales.min() * (1 - SAME_SCALE) <= scale_um <= scales.max() * (1 + SAME_SCALE))

    def correlated(self) -> Array:
        """Return the statistics (n, 10 or 11) of the simulated pictures as they were before they were decorrelated."""
        return np.asarray(self.statistics @ np.linalg.inv(self.whitening) * self.spread + self.mean)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.statistics)


@lru_cache
def domain_pictures(instrument: str | None = None) -> DomainPictures:
    """Return the statistics of domain pictures that come with magray, through an instrument or of mz."""
    own = DOMAIN_PICTURES / f"{instrument}.safetensors"
    return DomainPictures.load(own if instrument in RANGES and own.is_file() else own.with_stem(MZ))


def _with_scales(statistics: Array, scales_um: NDArray[np.floating] | None) -> Array:
    return statistics if scales_um is None else np.column_stack([statistics, np.log(scales_um)])


def _distances(white: Array, others: Array) -> Array:
    return np.asarray(cKDTree(others).query(white, NEIGHBOURS)[0][:, -1])


def picture_statistics(views: NDArray[np.floating]) -> Array:
    """Return the STATISTICS (n, 10) of views (n, 128, 128) of pictures; all lengths in pixels, most as logarithms."""
    standard = _standardised(np.asarray(views, np.float64))
    smooth = _standardised(gaussian_filter(standard, (0, SMOOTH, SMOOTH), mode="nearest"))
    levels = _two_levels(smooth)
    mz = (smooth - levels.mean(1)[:, None, None]) / (np.diff(levels, axis=1)[:, :, None] / 2)
    found = domain_statistics(mz.astype(np.float32))
    rough = (standard - gaussian_filter(standard, (0, 1, 1), mode="nearest")).std((1, 2))
    blocks = smooth.reshape(len(views), BLOCKS, VIEW_SIZE // BLOCKS, BLOCKS, VIEW_SIZE // BLOCKS)
    contrasts = blocks.std((2, 4)).reshape(len(views), -1)
    means = blocks.mean((2, 4)).reshape(len(views), -1)
    inside = np.clip(1 - np.clip(mz, -1, 1) ** 2, 0, None).mean((1, 2))
    columns = (
        np.log(np.nan_to_num(found.period, nan=1.0)),
        np.log(np.maximum(np.nan_to_num(found.wave_number), LEAST)),
        np.log(np.maximum(found.wall_density, LEAST)),
        np.nan_to_num(found.order),
        np.abs((mz > 0).mean((1, 2)) - 0.5),
        np.log(np.maximum(rough, LEAST)),
        (smooth**4).mean((1, 2)) - (smooth**3).mean((1, 2)) ** 2,
        np.log(np.maximum(contrasts.std(1), LEAST)),
        np.log(np.maximum(means.std(1), LEAST)),
        np.log(np.maximum(inside, LEAST) / np.maximum(found.wall_density, LEAST)),
    )
    return np.stack([np.asarray(column, np.float64) for column in columns], 1)


def _standardised(pictures: Array) -> Array:
    level = pictures.mean((1, 2), keepdims=True)
    spread = pictures.std((1, 2), keepdims=True)
    return np.asarray((pictures - level) / np.maximum(spread, 1e-12))


def _two_levels(smooth: Array) -> Array:
    """Return the grey values (n, 2) of dark and of bright domains: means below and above, as by 2-means."""
    flat = smooth.reshape(len(smooth), -1)
    middle = np.zeros(len(flat))
    for _ in range(6):
        up = flat > middle[:, None]
        share = np.clip(up.mean(1), 1e-6, 1 - 1e-6)
        high = (flat * up).mean(1) / share
        low = (flat * ~up).mean(1) / (1 - share)
        middle = (low + high) / 2
    return np.stack([low, np.maximum(high, low + 1e-6)], 1)
