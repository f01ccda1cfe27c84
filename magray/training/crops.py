"""The crops of an epoch: squares of the films, with all scales mixed in each batch.

Their order depends on the seed and the number of the epoch only (and, where films are streamed, on the number of the
chunk). So any number of workers sees the same views, and a resumed fit continues as an uninterrupted one would.
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

RANGE_SCALES = 4  # a range of scales has as many views as this number of listed scales
WHOLE_SHARE = 0.25  # of a range's views have pixels of whole cells; in all others neighbouring pixels share cells: blur
ORIENTATIONS = {"rotations": QUARTER_TURNS, "all": 4 * QUARTER_TURNS}
"""The number of equally likely pictures that symmetry makes of one view. "rotations": its quarter turns. "all": also
their mirror images, and all of these inverted. Without an applied field −m has the energy of m. The mirror image of mz
has the same energy too: a rotation of all moments by 180° around z compensates for it in a single layer, where the
charges of the in-plane and out-of-plane components do not interact."""
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class FilmBatch:
    """Films and targets on the device of a fit: all of them, or a chunk at a time.

    images: (n, ny, nx) uint8. targets: (n, t) float32, standardised. sides: of the crops at each scale, in cells.
    pixel_um: width of a cell. stream: the buffer that is filled chunk by chunk; None if all films are on the device.
    """

    images: torch.Tensor
    targets: torch.Tensor
    sides: tuple[int, ...]
    pixel_um: float
    stream: PrefetchBuffer | None = None

    @property
    def chunks(self) -> tuple[int, ...]:
        """Return the number of films in each chunk of an epoch."""
        return (len(self.images),) if self.stream is None else self.stream.chunks

    def load_chunks(self, epoch: int) -> Iterator[int]:
        """Yield the position in `images` of each chunk's first film; the next request replaces the chunk."""
        return iter((0,)) if self.stream is None else self.stream.load_chunks(epoch)


@dataclass(frozen=True)
class Crops:
    """Squares of films, as five arrays of one length.

    side, row, col: in cells. orientation: number of quarter turns, + 4 if mirrored, + 8 if inverted.
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
        """Return the crops (n, 5): a row for each, a column for each field."""
        return np.stack([getattr(self, field.name) for field in fields(self)], axis=1)


def tiled_epoch(films: int, shape: tuple[int, int], sides: Sequence[int], orientations: int) -> Crops:
    """Return the paper's epoch: all squares that tile each film of `shape` (ny, nx), at all scales and orientations."""
    at_sides = []
    for side in sides:
        rows = np.arange(shape[0] // side) * side
        cols = np.arange(shape[1] // side) * side
        grid = np.meshgrid([side], np.arange(films), rows, cols, np.arange(orientations), indexing="ij")
        at_sides.append(np.stack([axis.ravel() for axis in grid]))
    return Crops(*np.concatenate(at_sides, axis=1).astype(np.int64))


def _random_epoch(
    films: int, shape: tuple[int, int], sides: Indices, orientations: int, random: np.random.Generator
) -> Crops:
    """Return a square of each of `sides` at a random place and orientation, an equal number from each periodic film."""
    count = len(sides)
    return Crops(
        side=sides,
        film=np.concatenate([random.permutation(films) for _ in range(-(-count // films))])[:count],
        row=random.integers(shape[0], size=count),
        col=random.integers(shape[1], size=count),
        orientation=random.integers(orientations, size=count),
    )


def chunk_views(films: FilmBatch, config: TrainConfig) -> list[int]:
    """Return the number of views of an epoch that come from each chunk: all tiles, or its share of the random crops.

    Shares are whole batches, so that no crop is lost between chunks; the remainder goes to the last chunk.
    """
    if config.views_per_epoch is None:
        _, height, width = films.images.shape
        squares = sum(squares_in(height, width, side) for side in films.sides)
        return [squares * ORIENTATIONS[config.symmetries] * count for count in films.chunks]
    views = config.views_per_epoch * scale_count(films.sides, config)
    batch, ends = min(config.batch, views), np.cumsum(films.chunks)
    bounds = views // batch * ends // ends[-1] * batch
    bounds[-1] = views
    return [int(share) for share in np.diff(bounds, prepend=0)]


def epoch_crops(films: FilmBatch, config: TrainConfig, epoch: int, chunk: int = 0) -> Crops:
    """Return the shuffled crops of one chunk of an epoch: random ones, or all tiles.

    Their films are numbered from the first of the chunk.
    """
    random = np.random.default_rng((config.seed, epoch, *_chunk_seed(chunk)))
    n, (_, height, width) = films.chunks[chunk], films.images.shape
    orientations = ORIENTATIONS[config.symmetries]
    if config.views_per_epoch is None:
        crops = tiled_epoch(n, (height, width), films.sides, orientations)
    else:
        views = chunk_views(films, config)
        sides = _random_sides(films.sides, config, epoch, chunk, sum(views[:chunk]), views[chunk])
        crops = _random_epoch(n, (height, width), sides, orientations, random)
    return crops[random.permutation(len(crops))]


def scale_count(sides: Sequence[float], config: TrainConfig) -> int:
    """Return the number of scales by which `views_per_epoch` is multiplied, for a set of sides or scales."""
    return len(sides) if config.scales_drawn == "listed" else RANGE_SCALES


def possible_sides(sides: tuple[int, ...], config: TrainConfig) -> Sequence[int]:
    """Return all sides that crops may have, ascending, for a set of `sides`; cells."""
    return sides if config.scales_drawn == "listed" else range(sides[0], sides[-1] + 1)


def _random_sides(
    sides: tuple[int, ...], config: TrainConfig, epoch: int, chunk: int, first: int, count: int
) -> Indices:
    """Return the sides of `count` random crops of an epoch, from its `first` on: the listed ones in turn, or a range's.

    In a range every octave has the same share, because small views show little and more of them are needed.
    """
    if config.scales_drawn == "listed":
        return np.array(sides)[np.arange(first, first + count) % len(sides)]
    random = np.random.default_rng((config.seed, epoch, 1, *_chunk_seed(chunk)))
    drawn: Indices = np.rint(2 ** random.uniform(np.log2(sides[0]), np.log2(sides[-1]), count)).astype(np.int64)
    whole = np.arange(-(-sides[0] // VIEW_SIZE), sides[-1] // VIEW_SIZE + 1) * VIEW_SIZE
    if len(whole):
        few = drawn[: round(WHOLE_SHARE * count)]
        few[:] = whole[np.arange(len(few)) % len(whole)]
    return drawn


def _chunk_seed(chunk: int) -> tuple[int, ...]:
    """Return the part of a seed that differs between the chunks of an epoch; empty for the first."""
    return (3, chunk) if chunk else ()
