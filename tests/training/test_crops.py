"""An epoch mixes scales and films, and depends on its seed and number only."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from magray.training.config import TrainConfig
from magray.training.crops import FilmBatch, chunk_views, epoch_crops
from magray.training.prefetch import FilmChunk, PrefetchBuffer

SIDES = (64, 128)
WHOLE = TrainConfig(epochs=1, learning_rate=1e-3)
RANDOM = replace(WHOLE, views_per_epoch=128)


@pytest.fixture(scope="module")
def films() -> FilmBatch:
    return FilmBatch(torch.zeros(3, 128, 128, dtype=torch.uint8), torch.zeros(3, 1), SIDES, pixel_um=0.004)


def test_the_papers_epoch_holds_every_view_in_four_turns_once(films: FilmBatch) -> None:
    crops = epoch_crops(films, WHOLE, epoch=0)
    assert len(crops) == 3 * (4 + 1) * 4
    assert len({tuple(row) for row in crops.table.tolist()}) == len(crops)


def test_every_batch_mixes_scales_and_films(films: FilmBatch) -> None:
    """Batches of one scale each would spoil the statistics of batch norm."""
    crops = epoch_crops(films, RANDOM, epoch=0)
    for indices in np.array_split(np.arange(256), 8):
        assert set(crops[indices].side) == {64, 128}
        assert set(crops[indices].film) == {0, 1, 2}


def test_random_crops_give_each_scale_its_views_and_films_equal_shares(films: FilmBatch) -> None:
    crops = epoch_crops(films, replace(RANDOM, views_per_epoch=150), epoch=0)
    assert [int((crops.side == side).sum()) for side in SIDES] == [150, 150]
    assert np.bincount(crops.film).tolist() == [100, 100, 100]


def test_scales_may_be_any_between_the_outermost_with_equal_shares_for_every_octave() -> None:
    """A range has as many views as four scales."""
    films = FilmBatch(torch.zeros(3, 128, 128, dtype=torch.uint8), torch.zeros(3, 1), (30, 120), pixel_um=0.004)
    crops = epoch_crops(films, replace(RANDOM, views_per_epoch=2000, scales_drawn="between"), epoch=0)
    assert set(crops.side) == set(range(30, 121))
    assert len(crops) == 8000
    assert (crops.side < 60).mean() == pytest.approx(0.5, abs=0.03)


def test_a_quarter_of_a_ranges_views_have_pixels_of_whole_cells() -> None:
    """Only those are sharp. By chance they would be one in a hundred, too few to learn from."""
    films = FilmBatch(torch.zeros(3, 512, 512, dtype=torch.uint8), torch.zeros(3, 1), (102, 512), pixel_um=0.004)
    crops = epoch_crops(films, replace(RANDOM, views_per_epoch=2000, scales_drawn="between"), epoch=0)
    assert [(crops.side == side).mean() for side in (128, 256, 384, 512)] == pytest.approx([0.0625] * 4, abs=0.01)


def test_an_epoch_depends_on_its_seed_and_number_alone(films: FilmBatch) -> None:
    first, again = (epoch_crops(films, replace(RANDOM, seed=1), epoch=3) for _ in range(2))
    np.testing.assert_array_equal(first.table, again.table)
    for seed, epoch in ((2, 3), (1, 4)):
        other = epoch_crops(films, replace(RANDOM, seed=seed), epoch)
        assert not np.array_equal(first.row, other.row)


def nothing(epoch: int) -> Iterator[FilmChunk]:
    raise AssertionError("crops need no pictures")


@pytest.fixture
def ten_streamed() -> Iterator[FilmBatch]:
    """Ten films on a device that holds six: chunks of 2, 3, 2 and 3."""
    images, targets = torch.zeros(6, 128, 128, dtype=torch.uint8), torch.zeros(6, 1)
    with PrefetchBuffer(images, targets, torch.zeros(10, 1), nothing) as stream:
        yield FilmBatch(images, targets, SIDES, pixel_um=0.004, stream=stream)


def test_the_papers_epoch_holds_every_view_once_in_chunks_too(ten_streamed: FilmBatch) -> None:
    crops = [epoch_crops(ten_streamed, WHOLE, 0, chunk) for chunk in range(4)]
    assert ten_streamed.chunks == (2, 3, 2, 3)
    assert [len(some) for some in crops] == [20 * films for films in ten_streamed.chunks]
    views = {(chunk, *row) for chunk, some in enumerate(crops) for row in some.table.tolist()}
    assert len(views) == 10 * (4 + 1) * 4


def test_random_crops_are_shared_between_chunks_by_their_films(ten_streamed: FilmBatch) -> None:
    """Shares are whole batches, so that there are as many steps as with all films at once."""
    config = replace(RANDOM, views_per_epoch=200, batch=4)
    crops = [epoch_crops(ten_streamed, config, 0, chunk) for chunk in range(4)]
    assert chunk_views(ten_streamed, config) == [80, 120, 80, 120]
    assert [np.bincount(some.film).tolist() for some in crops] == [[40] * films for films in ten_streamed.chunks]
    assert [sum(int((some.side == side).sum()) for some in crops) for side in SIDES] == [200, 200]
    assert sum(views // 32 for views in chunk_views(ten_streamed, replace(config, batch=32))) == 400 // 32


def test_no_two_chunks_have_the_same_crops(ten_streamed: FilmBatch) -> None:
    first, third = (epoch_crops(ten_streamed, replace(RANDOM, batch=4), 0, chunk) for chunk in (0, 2))
    assert not np.array_equal(first.row[:40], third.row[:40])
