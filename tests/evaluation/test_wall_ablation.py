"""Films redrawn with walls of another width, and domains where they were."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from magray.evaluation.wall_ablation import distances_to_walls, rewiden

SIDE = 128


def stripes(width: float) -> NDArray[np.uint8]:
    """Two walls of mz = tanh(x / width), half a film apart, in a periodic film."""
    x = np.arange(SIDE) + 0.5
    distance = SIDE / 4 - np.abs(x - SIDE / 2)
    return np.broadcast_to(np.rint((np.tanh(distance / width) + 1) * 127.5).astype(np.uint8), (SIDE, SIDE))


def redrawn(image: NDArray[np.uint8], width: float, factor: float) -> NDArray[np.int64]:
    distances = torch.from_numpy(distances_to_walls(image))
    pictures = rewiden(torch.from_numpy(image.copy())[None], distances[None], torch.tensor([width]), factor)
    return pictures[0].numpy().astype(int)


@pytest.mark.parametrize("width", [2.0, 5.0, 9.0])
def test_walls_get_the_width_that_is_asked_for_wherever_they_are(width: float) -> None:
    """Level, upright, and across the film's edge."""
    narrow, wanted = stripes(3.0), stripes(width).astype(int)
    for turned, expected in ((narrow, wanted), (narrow.T, wanted.T)):
        assert np.abs(redrawn(turned, 3.0, width / 3) - expected).max() <= 4
    across = np.roll(narrow, SIDE // 4, axis=1)
    assert np.abs(redrawn(across, 3.0, width / 3) - np.roll(wanted, SIDE // 4, axis=1)).max() <= 4


def test_a_film_with_walls_as_wide_as_its_own_is_the_film() -> None:
    """Ripples, crooked walls and all: whatever an estimator reads is still there."""
    random = np.random.default_rng(0)
    image = np.clip(stripes(4.0) + random.normal(0, 20, (SIDE, SIDE)), 0, 255).astype(np.uint8)
    assert np.abs(redrawn(image, 3.0, 1.0) - image).max() <= 1


def test_ripples_in_a_domain_stay_when_walls_are_redrawn() -> None:
    image = stripes(3.0).copy()
    image[:, SIDE // 2] = 230
    assert np.abs(redrawn(image, 3.0, 0.5)[:, SIDE // 2] - 230).max() <= 1


def test_a_film_of_one_domain_has_no_walls_to_redraw() -> None:
    for grey in (250, 3):
        assert np.abs(redrawn(np.full((SIDE, SIDE), grey, np.uint8), 5.0, 2.0) - grey).max() <= 1
