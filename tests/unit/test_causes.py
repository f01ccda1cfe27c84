"""Films redrawn with walls of another width, and domains where they were."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from magray.tolerance.causes import distances_to_walls, pictures_of

SIDE = 128


def stripes(width: float) -> NDArray[np.uint8]:
    """Two walls of mz = tanh(x / width), half a film apart, in a periodic film."""
    x = np.arange(SIDE) + 0.5
    distance = SIDE / 4 - np.abs(x - SIDE / 2)
    return np.broadcast_to(np.rint((np.tanh(distance / width) + 1) * 127.5).astype(np.uint8), (SIDE, SIDE))


def redraw(image: NDArray[np.uint8], width: float) -> NDArray[np.uint8]:
    distances = torch.from_numpy(distances_to_walls(image))[None]
    return pictures_of(distances, torch.tensor([width])[:, None, None])[0].numpy()


@pytest.mark.parametrize("width", [2.0, 5.0, 10.0])
def test_walls_get_the_width_that_is_asked_for_wherever_they_are(width: float) -> None:
    """Level, upright, and across the film's edge."""
    narrow, wanted = stripes(3.0), stripes(width).astype(int)
    assert np.abs(redraw(narrow, width) - wanted).max() <= 1
    assert np.abs(redraw(narrow.T, width) - wanted.T).max() <= 1
    across = np.roll(narrow, SIDE // 4, axis=1)
    assert np.abs(redraw(across, width) - np.roll(wanted, SIDE // 4, axis=1)).max() <= 1


def test_a_wall_of_its_own_width_stays_as_it_is() -> None:
    assert np.abs(redraw(stripes(4.0), 4.0).astype(int) - stripes(4.0)).max() <= 1


def test_a_film_of_one_domain_has_no_walls_to_redraw() -> None:
    assert (redraw(np.full((SIDE, SIDE), 250, np.uint8), 5.0) == 255).all()
    assert (redraw(np.full((SIDE, SIDE), 3, np.uint8), 5.0) == 0).all()
