"""The crops of an epoch: places in the films, all scales mixed in each batch.

Its order depends on the seed and the epoch's number alone: the same views whatever the number of workers, and a resumed
fit goes on as an undisturbed one would. Where films are shown in windows, so does that of each window's cuts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray

from magray.imaging import VIEW_SIZE, squares_in
from magray.imaging.views import QUARTER_TURNS
from magray.training.config import TrainConfig
from magray.training.prefetch import PrefetchBuffer

RANGE_SCALES = 4  # a range of scales shows as many views as so many scales
WHOLE_SHARE = 0.25  # of a range's views have pixels of whole cells, which alone are not blurred by sharing cells
ORIENTATIONS = {"rotations": QUARTER_TURNS, "all": 4 * QUARTER_TURNS}
"""How many pictures of equal right one view makes. "rotations": its quarter turns. "all": those, mirrored and inverted
too. The energy of a film without an applied field is the same for −m; and for a mirrored mz, since a turn of all
moments by 180° around z makes good for it in one layer, whose in-plane and out-of-plane charges do not meet."""
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class FilmBatch:
    """Films and targets on the device of a fit: all of them, or a chunk at a time.

    images: (n, ny, nx) uint8. targets: (n, t) float32, standardised. sides: of the cuts at each scale, in cells.
    pixel_um: what a cell adds to the scale of a cut. stream: None if all films are there.
    """

    images: torch.Tensor
    targets: torch.Tensor
    sides: tuple[int, ...]
    pixel_um: float
    stream: PrefetchBuffer | None = None

    @property
    def chunks(self) -> tuple[int, ...]:
        """The number of films in each chunk of an epoch."""
        return (len(self.images),) if self.stream is None else self.stream.chunks

    def shown(self, epoch: int) -> Iterator[int]:
        """Show one window after the other: where its first film is. It stays until the next one is asked for."""
        return iter((0,)) if self.stream is None else self.stream.shown(epoch)


@dataclass(frozen=True)
class Crops:
    """Which squares of which films: five arrays of one length.

    side, row, col: in cells. orientation: quarter turns, + 4 if mirrored, + 8 if inverted.
    """

    side: Indices
    film: Indices
    row: Indices
    col: Indices
    orientation: Indices

    def __len__(self) -> int:
        return len(self.film)

    def __getitem__(self, chosen: Indices | slice) -> "Crops":
        return Crops(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @property
    def table(self) -> Indices:
        """(n, 5): a row for each cut, a column for each field."""
        return np.stack([getattr(self, field.name) for field in fields(self)], axis=1)


def tiled_epoch(films: int, shape: tuple[int, int], sides: Sequence[int], orientations: int) -> Crops:
    """The paper's epoch: every square that tiles every film of `shape` (ny, nx) at every scale, in each orientation."""
    parts = []
    for side in sides:
        rows = np.arange(shape[0] // side) * side
        cols = np.arange(shape[1] // side) * side
        grid = np.meshgrid([side], np.arange(films), rows, cols, np.arange(orientations), indexing="ij")
        parts.append(np.stack([axis.ravel() for axis in grid]))
    return Crops(*np.concatenate(parts, axis=1).astype(np.int64))


def random_epoch(
    films: int, shape: tuple[int, int], sides: Indices, orientations: int, random: np.random.Generator
) -> Crops:
    """A square of each of `sides` from a random place, wrapping, randomly oriented: films have equal shares."""
    count = len(sides)
    return Crops(
        side=sides,
        film=np.concatenate([random.permutation(films) for _ in range(-(-count // films))])[:count],
        row=random.integers(shape[0], size=count),
        col=random.integers(shape[1], size=count),
        orientation=random.integers(orientations, size=count),
    )


def chunk_views(films: FilmBatch, config: TrainConfig) -> list[int]:
    """Return the number of an epoch's views from each chunk: all of its films', or its share of the random ones.

    Shares are whole batches, so that windows lose nothing; the last one has besides what an epoch has beyond those.
    """
    if config.views_per_epoch is None:
        _, height, width = films.images.shape
        squares = sum(squares_in(height, width, side) for side in films.sides)
        return [squares * ORIENTATIONS[config.symmetries] * count for count in films.chunks]
    views = config.views_per_epoch * scales_shown(films.sides, config)
    batch, ends = min(config.batch, views), np.cumsum(films.chunks)
    bounds = views // batch * ends // ends[-1] * batch
    bounds[-1] = views
    return [int(share) for share in np.diff(bounds, prepend=0)]


def epoch_crops(films: FilmBatch, config: TrainConfig, epoch: int, chunk: int = 0) -> Crops:
    """The shuffled cuts of one of an epoch's windows: random ones, or the paper's whole epoch.

    Their films are numbered from the window's first.
    """
    random = np.random.default_rng((config.seed, epoch, *_apart(chunk)))
    n, (_, height, width) = films.chunks[chunk], films.images.shape
    orientations = ORIENTATIONS[config.symmetries]
    if config.views_per_epoch is None:
        crops = tiled_epoch(n, (height, width), films.sides, orientations)
    else:
        views = chunk_views(films, config)
        sides = _random_sides(films.sides, config, epoch, chunk, sum(views[:chunk]), views[chunk])
        crops = random_epoch(n, (height, width), sides, orientations, random)
    return crops[random.permutation(len(crops))]


def scales_shown(sides: Sequence[float], config: TrainConfig) -> int:
    """Return how many times `views_per_epoch` an epoch has, for a set of sides or scales."""
    return len(sides) if config.scales_drawn == "listed" else RANGE_SCALES


def possible_sides(sides: tuple[int, ...], config: TrainConfig) -> Sequence[int]:
    """All sides that a fit's cuts may have, ascending, of a set of `sides`."""
    return sides if config.scales_drawn == "listed" else range(sides[0], sides[-1] + 1)


def _random_sides(
    sides: tuple[int, ...], config: TrainConfig, epoch: int, chunk: int, first: int, count: int
) -> Indices:
    """The sides of a window's random cuts, an epoch's `first` and after: the listed ones in turn, or any between them.

    Between them every octave has the same share: small views show little, and it takes more of them to learn from.
    """
    if config.scales_drawn == "listed":
        return np.array(sides)[np.arange(first, first + count) % len(sides)]
    random = np.random.default_rng((config.seed, epoch, 1, *_apart(chunk)))
    drawn: Indices = np.rint(2 ** random.uniform(np.log2(sides[0]), np.log2(sides[-1]), count)).astype(np.int64)
    whole = np.arange(-(-sides[0] // VIEW_SIZE), sides[-1] // VIEW_SIZE + 1) * VIEW_SIZE
    if len(whole):
        few = drawn[: round(WHOLE_SHARE * count)]
        few[:] = whole[np.arange(len(few)) % len(whole)]
    return drawn


def _apart(chunk: int) -> tuple[int, ...]:
    """Return the seeds that set a later chunk's generators apart from the first one's."""
    return (3, chunk) if chunk else ()
