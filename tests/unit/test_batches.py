"""Batches mix what they should, show what they say, and depend on nothing but seed and epoch."""

import numpy as np
import pytest
import torch

from magray.imaging import views
from magray.learning.batches import (
    Cuts,
    TrainingFilms,
    batch_count,
    batches,
    epoch_cuts,
    normalised,
    render,
    whole_epoch,
)
from tests.stripes import stripes

SIDES = (64, 128)


@pytest.fixture(scope="module")
def films() -> TrainingFilms:
    mz = np.stack([stripes(periods, 0.4, seed=periods, side=128) for periods in (2, 3, 5)])
    images = torch.from_numpy(np.rint((mz + 1) * 127.5).astype(np.uint8))
    return TrainingFilms(images, torch.arange(3.0)[:, None], SIDES)


def test_the_papers_epoch_holds_every_view_in_four_turns_once(films: TrainingFilms) -> None:
    cuts = epoch_cuts(films, None, seed=0, epoch=0)
    assert len(cuts) == 3 * (4 + 1) * 4
    assert len({tuple(row) for row in np.stack([*vars(cuts).values()]).T.tolist()}) == len(cuts)


def test_every_batch_mixes_scales_and_films(films: TrainingFilms) -> None:
    """Batches of one scale after the other wreck the statistics of batch norm."""
    cuts = epoch_cuts(films, 128, seed=0, epoch=0)
    for indices in np.array_split(np.arange(256), batch_count(256, 32)):
        assert set(cuts[indices].scale) == {0, 1}
        assert set(cuts[indices].film) == {0, 1, 2}


def test_random_cuts_give_each_scale_its_views_and_films_equal_shares(films: TrainingFilms) -> None:
    cuts = epoch_cuts(films, 150, seed=0, epoch=0)
    assert np.bincount(cuts.scale).tolist() == [150, 150]
    assert np.bincount(cuts.film).tolist() == [100, 100, 100]


def test_an_epoch_depends_on_its_seed_and_number_alone(films: TrainingFilms) -> None:
    first, again = (epoch_cuts(films, 64, seed=1, epoch=3) for _ in range(2))
    np.testing.assert_array_equal(first.row, again.row)
    for other in (epoch_cuts(films, 64, seed=2, epoch=3), epoch_cuts(films, 64, seed=1, epoch=4)):
        assert not np.array_equal(first.row, other.row)


def test_batches_show_the_tiles_of_the_films_in_minus_one_to_one(films: TrainingFilms) -> None:
    everything = whole_epoch(3, (128, 128), SIDES, orientations=4)
    upright = everything[np.flatnonzero((everything.orientation == 0) & (everything.scale == 0))]
    expected = normalised(views(films.images, 0.25, 4.0)).reshape(-1, 128, 128)
    torch.testing.assert_close(render(films, upright), expected)
    assert render(films, everything).abs().max() <= 1


def test_orientations_turn_mirror_and_invert(films: TrainingFilms) -> None:
    zeros = np.zeros(16, np.int64)
    shown = render(films, Cuts(zeros + 1, zeros, zeros + 5, zeros, np.arange(16)))
    torch.testing.assert_close(shown[1], shown[0].rot90(1))
    torch.testing.assert_close(shown[4 + 1], shown[1].flip(-1))
    torch.testing.assert_close(shown[8 + 4 + 1], -shown[4 + 1])


def test_workers_share_a_batch_without_overlap(films: TrainingFilms) -> None:
    cuts = epoch_cuts(films, 50, seed=0, epoch=0)
    whole = list(batches(films, cuts, 3))
    shares = [list(batches(films, cuts, 3, rank, workers=2)) for rank in range(2)]
    for (seen, wanted), *parts in zip(whole, *shares, strict=True):
        assert len(seen) == sum(len(part[0]) for part in parts)
        assert sorted(wanted.ravel().tolist()) == sorted(torch.cat([part[1] for part in parts]).ravel().tolist())
