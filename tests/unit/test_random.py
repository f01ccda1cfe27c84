"""The counter-based generator against its published vectors, and the films that it makes."""

import numpy as np
import pytest

from magray.films import Protocol
from magray.micromagnetics.random import initial_state, ku1_map, philox, random_directions
from tests.specimens import co_like


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers(counter: tuple[int, ...], key: tuple[int, int], words: tuple[int, ...]) -> None:
    """The known-answer vectors of philox4x32-10 that its authors ship with Random123."""
    assert tuple(philox(np.array(counter, np.uint64)[:, None], key)[:, 0]) == words


def test_random_starts_are_uniform_on_the_sphere() -> None:
    """Each component has mean 0 and variance 1/3; 65,536 cells put three standard errors at 0.007 and 0.0035."""
    m = random_directions(co_like((256, 256)))
    assert np.abs(np.linalg.norm(m, axis=0) - 1).max() < 1e-6
    assert np.abs(m.mean(axis=(1, 2))).max() < 0.007
    assert np.abs((m**2).mean(axis=(1, 2)) - 1 / 3).max() < 0.0035


def test_ku1_varies_as_sigma_says() -> None:
    ku1 = ku1_map(co_like((256, 256), sigma=0.2))
    assert ku1.mean() == pytest.approx(1, abs=0.003)
    assert ku1.std() == pytest.approx(0.2, rel=0.01)
    correlation = np.mean((ku1 - 1) * (np.roll(ku1, 1, axis=1) - 1)) / 0.04
    assert abs(correlation) < 0.015  # each cell its own
    assert (ku1_map(co_like(sigma=0.0)) == 1).all()


def test_seeds_decide_and_start_and_ku1_are_independent() -> None:
    film, other = co_like(seed=1), co_like(seed=2)
    assert (random_directions(film) == random_directions(co_like(seed=1, D=1e-3))).all()
    assert (random_directions(film) != random_directions(other)).mean() > 0.99
    assert abs(np.corrcoef(random_directions(film)[2].ravel(), ku1_map(film).ravel())[0, 1]) < 0.1


def test_a_film_can_begin_along_z() -> None:
    assert (initial_state(co_like(protocol=Protocol(initial="up")))[2] == 1).all()
