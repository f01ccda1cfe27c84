"""Pictures show the right cells of the films, and both ways to render them agree."""

import numpy as np
import pytest
import torch

from magray.imaging import to_mz, views
from magray.training.crops import Crops, tiled_epoch
from magray.training.rendering import gather, max_cells, render
from tests.support.stripes import stripes

SIDES = (64, 128)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    mz = np.stack([stripes(periods, 0.4, seed=periods, side=128) for periods in (2, 3, 5)])
    return torch.from_numpy(np.rint((mz + 1) * 127.5).astype(np.uint8))


def test_pictures_show_the_tiles_of_the_films_in_minus_one_to_one(images: torch.Tensor) -> None:
    everything = tiled_epoch(3, (128, 128), SIDES, orientations=4)
    upright = everything[np.flatnonzero((everything.orientation == 0) & (everything.side == 64))]
    expected = to_mz(views(images, 0.25, 4.0)).reshape(-1, 128, 128)
    torch.testing.assert_close(render(images, torch.from_numpy(upright.table)), expected)
    assert render(images, torch.from_numpy(everything.table)).abs().max() <= 1


def test_orientations_turn_mirror_and_invert(images: torch.Tensor) -> None:
    zeros = np.zeros(16, np.int64)
    shown = render(images, torch.from_numpy(Crops(zeros + 128, zeros, zeros + 5, zeros, np.arange(16)).table))
    torch.testing.assert_close(shown[1], shown[0].rot90(1))
    torch.testing.assert_close(shown[4 + 1], shown[1].flip(-1))
    torch.testing.assert_close(shown[8 + 4 + 1], -shown[4 + 1])


@pytest.mark.parametrize("sides", [(64, 128), (192, 256), (77, 205, 300)])
def test_one_pass_over_the_cells_renders_the_same(sides: tuple[int, ...]) -> None:
    """At ratios of cells to pixels below 1, whole, 3 : 2 and arbitrary, in all orientations, across the edges."""
    random, count = np.random.default_rng(0), 32
    images = torch.from_numpy(random.integers(0, 256, (3, 320, 300), np.uint8))
    places = random.integers(0, (3, 320, 300), (count, 3)).T
    film, row, col = places
    crops = torch.from_numpy(Crops(np.resize(sides, count), film, row, col, np.arange(count) % 16).table)
    torch.testing.assert_close(gather(images, crops, max_cells(sides)), render(images, crops), atol=1e-6, rtol=0)


def test_a_pixel_touches_as_many_cells_as_it_spans() -> None:
    assert [max_cells([side]) for side in (64, 128, 256, 512, 192, 129, 500)] == [1, 1, 2, 4, 2, 2, 5]
