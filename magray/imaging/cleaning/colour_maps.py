"""Undo colour maps: the place of each pixel's colour on the map that comes nearest to all of them."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from magray.errors import UserError

MAPS = (  # of matplotlib; reversed ones differ only in the sign of the contrast
    *("viridis", "plasma", "inferno", "magma", "cividis", "jet", "turbo", "hot", "afmhot", "gist_heat", "copper"),
    *("bone", "pink", "cool", "coolwarm", "RdBu", "bwr", "seismic", "RdGy", "PiYG", "PuOr", "RdYlBu", "Spectral"),
    *("Blues", "Reds", "Greens", "Oranges", "twilight"),
)
GWYDDION = ([0, 0.344671, 0.687075, 1], [[0, 0, 0], [168, 40, 15], [243, 194, 93], [255, 255, 255]])  # its own
GREYISH = 16  # of 255: colours whose channels differ less are those of a grey picture, or of its compression
NEAR = 14.0  # of 255: a picture's colours lie no farther from its map, but for one in ten
NEAR_CURVE = 22.0  # of 255: the same for a line that is drawn through the colours; JPEG blurs them at walls
SAMPLE = 20_000  # pixels that are compared with all maps
AT_ONCE = 1 << 18
BINS = 32  # of luminance


def undone(colours: NDArray[np.uint8]) -> tuple[NDArray[np.float32], str] | None:
    """Return grey values (h, w), 0…1, of colours (h, w, 3); None for greyish ones. Raises UserError if none fits."""
    pixels = colours.reshape(-1, 3)
    sample = pixels[:: max(1, len(pixels) // SAMPLE)]
    if np.quantile(np.ptp(sample.astype(np.int16), axis=1), 0.99) < GREYISH:
        return None
    trees = _trees()
    distances = {name: float(np.quantile(tree.query(sample)[0], 0.9)) for name, tree in trees.items()}
    name = min(distances, key=distances.__getitem__)
    if distances[name] > NEAR:
        curve = _curve(sample)
        if curve is None:
            raise UserError(
                "its colours follow no colour map that is known; export it in grey, or take its luminance with "
                "--clean -colours"
            )
        tree, name = curve, "of these colours, from dark to bright,"
    else:
        tree = trees[name]
    places = [tree.query(pixels[at : at + AT_ONCE])[1] for at in range(0, len(pixels), AT_ONCE)]
    values = (np.concatenate(places) / np.float32(255)).astype(np.float32)
    return values.reshape(colours.shape[:2]), f"the colour map {name} undone"


@lru_cache(maxsize=1)
def _trees() -> dict[str, cKDTree]:
    from matplotlib import colormaps

    steps = np.linspace(0, 1, 256)
    found = {name: cKDTree(colormaps[name](steps)[:, :3] * 255) for name in MAPS}
    at, points = GWYDDION[0], np.array(GWYDDION[1], np.float64)
    found["Gwyddion.net"] = cKDTree(np.stack([np.interp(steps, at, channel) for channel in points.T], 1))
    return found


def _curve(sample: NDArray[np.uint8]) -> cKDTree | None:
    """Return the colours on the line from the darkest to the brightest, if there is one colour to each luminance.

    The place on it is the length of the line, as on maps that are made of straight pieces.
    """
    brightness = sample @ np.array([0.299, 0.587, 0.114])
    order = np.argsort(brightness)
    means = np.stack([part.mean(0) for part in np.array_split(sample[order].astype(np.float64), BINS)])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(means, axis=0), axis=1))])
    at = np.linspace(0, along[-1], 256)
    tree = cKDTree(np.stack([np.interp(at, along, channel) for channel in means.T], 1))
    return tree if np.quantile(tree.query(sample)[0], 0.9) < NEAR_CURVE else None
