"""Batches: pictures cut from resident uint8 films, all scales mixed in each, made into floats only when needed.

An epoch is a list of cuts, whose order depends on the seed and the epoch's number alone, so that a resumed fit goes on
as an undisturbed one would.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from magray.imaging import VIEW_SIZE, area_average, cut, rotate

QUARTER_TURNS = 4
ORIENTATIONS = {"rotations": QUARTER_TURNS, "all": 4 * QUARTER_TURNS}
"""How many pictures of equal right one view makes. "rotations": its quarter turns. "all": those, mirrored and inverted
too. The energy of a film without an applied field is the same for −m; and for a mirrored mz, since a turn of all
moments by 180° around z makes good for it in one layer, whose in-plane and out-of-plane charges do not meet."""
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingFilms:
    """What a fit learns from, resident on its device.

    images: (n, ny, nx) uint8. targets: (n, t) float32, standardised. sides: of the cuts at each scale, in cells.
    orientations: a value of ORIENTATIONS.
    """

    images: torch.Tensor
    targets: torch.Tensor
    sides: tuple[int, ...]
    orientations: int = QUARTER_TURNS


@dataclass(frozen=True)
class Cuts:
    """Which squares of which films: five arrays of one length.

    scale: counts the films' sides. orientation: quarter turns, + 4 if mirrored, + 8 if inverted.
    """

    scale: Indices
    film: Indices
    row: Indices
    col: Indices
    orientation: Indices

    def __len__(self) -> int:
        return len(self.film)

    def __getitem__(self, chosen: Indices | slice) -> "Cuts":
        return Cuts(*(getattr(self, name)[chosen] for name in ("scale", "film", "row", "col", "orientation")))


def whole_epoch(films: int, shape: tuple[int, int], sides: Sequence[int], orientations: int) -> Cuts:
    """The paper's epoch: every square that tiles every film of `shape` (ny, nx) at every scale, in each orientation."""
    parts = []
    for scale, side in enumerate(sides):
        rows = np.arange(shape[0] // side) * side
        cols = np.arange(shape[1] // side) * side
        grid = np.meshgrid([scale], np.arange(films), rows, cols, np.arange(orientations), indexing="ij")
        parts.append(np.stack([axis.ravel() for axis in grid]))
    return Cuts(*np.concatenate(parts, axis=1).astype(np.int64))


def random_epoch(
    films: int, shape: tuple[int, int], sides: Sequence[int], orientations: int, count: int, random: np.random.Generator
) -> Cuts:
    """`count` squares of each side from random places, wrapping, randomly oriented: films have equal shares."""
    count *= len(sides)
    return Cuts(
        scale=np.arange(count) % len(sides),
        film=np.concatenate([random.permutation(films) for _ in range(-(-count // films))])[:count],
        row=random.integers(shape[0], size=count),
        col=random.integers(shape[1], size=count),
        orientation=random.integers(orientations, size=count),
    )


def epoch_cuts(films: TrainingFilms, views: int | None, seed: int, epoch: int) -> Cuts:
    """The shuffled cuts of one epoch: `views` random ones at each scale, or the paper's whole epoch for None."""
    random = np.random.default_rng((seed, epoch))
    n, height, width = films.images.shape
    if views is None:
        cuts = whole_epoch(n, (height, width), films.sides, films.orientations)
    else:
        cuts = random_epoch(n, (height, width), films.sides, films.orientations, views, random)
    return cuts[random.permutation(len(cuts))]


def batch_count(cuts: int, batch: int) -> int:
    """How many batches of nearly equal size, `batch` or a little more or less, an epoch of `cuts` makes."""
    return max(1, round(cuts / batch))


def batches(
    films: TrainingFilms, cuts: Cuts, count: int, rank: int = 0, workers: int = 1
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The epoch in `count` batches of views (b, 128, 128), −1…1, and targets (b, t): the share of worker `rank`."""
    for indices in np.array_split(np.arange(len(cuts)), count):
        mine = cuts[indices[rank::workers]]
        yield render(films, mine), films.targets[mine.film]


def render(films: TrainingFilms, cuts: Cuts) -> torch.Tensor:
    """The views (n, 128, 128) float32, −1…1, of `cuts`, in their order."""
    device = films.images.device
    views = torch.empty(len(cuts), VIEW_SIZE, VIEW_SIZE, device=device)
    for scale, side in enumerate(films.sides):
        for turns in range(QUARTER_TURNS):
            chosen = np.flatnonzero((cuts.scale == scale) & (cuts.orientation % QUARTER_TURNS == turns))
            part = cuts[chosen]
            squares = cut(films.images[part.film], side, part.row, part.col)
            views[chosen] = rotate(area_average(squares), turns)
    mirrored, inverted = (
        torch.as_tensor(cuts.orientation // order % 2, device=device)[:, None, None] for order in (4, 8)
    )
    return torch.where(mirrored == 1, views.flip(-1), views).div_(127.5).sub_(1).mul_(1 - 2 * inverted)


def normalised(grey: torch.Tensor) -> torch.Tensor:
    """−1…1 from grey values 0…255."""
    return grey / 127.5 - 1
