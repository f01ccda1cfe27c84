"""The counter-based generator against its published vectors, and the films that it makes."""

from dataclasses import replace

import numpy as np
import pytest

from magray.films import Protocol, Random, Uniform
from magray.micromagnetics.cpu_kernels import add_thermal_field
from magray.micromagnetics.initial_state import initial_state, ku1_map, random_directions, thermal_field
from magray.micromagnetics.philox import STREAM_GRAINS, STREAM_KU1, STREAM_START, STREAM_THERMAL, normals, philox
from tests.support.specimens import co_like


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


def test_ku1_varies_with_the_given_sigma() -> None:
    ku1 = ku1_map(co_like((256, 256), sigma=0.2))
    assert ku1.mean() == pytest.approx(1, abs=0.003)
    assert ku1.std() == pytest.approx(0.2, rel=0.01)
    correlation = np.mean((ku1 - 1) * (np.roll(ku1, 1, axis=1) - 1)) / 0.04
    assert abs(correlation) < 0.015  # each cell its own
    assert (ku1_map(co_like(sigma=0.0)) == 1).all()


def test_another_seed_is_another_film_and_start_and_ku1_are_independent() -> None:
    film, other = co_like(seed=1), co_like(seed=2)
    assert (random_directions(film) == random_directions(co_like(seed=1, D=1e-3))).all()
    assert (random_directions(film) != random_directions(other)).mean() > 0.99
    assert abs(np.corrcoef(random_directions(film)[2].ravel(), ku1_map(film).ravel())[0, 1]) < 0.1


def test_a_random_start_in_squares_is_the_same_in_cells_of_any_size() -> None:
    """The noise of 4 nm cells in cells of 2 and of 1 × 2 nm; in cells as large as its squares it is `random`."""
    start = Protocol(Random(4e-9))
    coarse = initial_state(co_like((32, 20), cell_size=(4e-9, 4e-9, 4e-9), seed=5))
    assert (initial_state(co_like((32, 20), cell_size=(4e-9, 4e-9, 4e-9), seed=5, protocol=start)) == coarse).all()
    fine = initial_state(co_like((64, 40), cell_size=(2e-9, 2e-9, 4e-9), seed=5, protocol=start))
    assert (fine == coarse.repeat(2, 1).repeat(2, 2)).all()
    flat = initial_state(co_like((128, 40), cell_size=(1e-9, 2e-9, 4e-9), seed=5, protocol=start))
    assert (flat == coarse.repeat(2, 1).repeat(4, 2)).all()


def test_the_last_square_of_a_row_may_be_narrower() -> None:
    m = initial_state(co_like((32, 20), cell_size=(4e-9, 4e-9, 4e-9), protocol=Protocol(Random(12e-9))))
    assert (m[:, :3, 30] == m[:, :3, 31]).all()
    assert len(np.unique(m[2])) == 11 * 7


def test_a_film_can_begin_along_any_direction() -> None:
    """Without noise to the last bit of single precision; −z and 100 times as long is the same direction as −z."""
    direction = np.array([1, -2, 3]) / np.sqrt(14)
    m = initial_state(co_like(protocol=Protocol(Uniform((1, -2, 3), noise=0))))
    assert np.abs(m - direction[:, None, None]).max() < 1e-7
    assert (initial_state(co_like(protocol=Protocol(Uniform((0, 0, -100), noise=0))))[2] == -1).all()


def test_a_uniform_start_is_tilted_by_its_noise() -> None:
    """Each cell its own: two components across of standard deviation `noise`. 65,536 cells: 1 %."""
    m = initial_state(co_like((256, 256), protocol=Protocol(Uniform((0, 0, 1), noise=0.05))))
    assert np.abs(np.linalg.norm(m, axis=0) - 1).max() < 1e-6
    assert m[:2].std(axis=(1, 2)) == pytest.approx([0.05, 0.05], rel=0.011)
    assert np.abs(m[:2].mean(axis=(1, 2))).max() < 0.05 * 4 / 256
    assert abs(np.mean(m[0] * np.roll(m[0], 1, axis=1))) < 0.05**2 * 4 / 256
    assert abs(np.mean(m[0] * m[1])) < 0.05**2 * 4 / 256


def test_m_is_zero_outside_of_an_ellipse() -> None:
    for protocol in (Protocol(), Protocol(Uniform((1, 1, 1)))):
        m = initial_state(co_like((64, 32), open_edges="ellipse", protocol=protocol))
        length = np.linalg.norm(m, axis=0)
        assert (length[0, 0], length[-1, -1]) == (0, 0)
        assert np.mean(length > 0.5) == pytest.approx(np.pi / 4, abs=0.01)
        assert np.abs(length[length > 0] - 1).max() < 1e-6


def test_a_thermal_field_is_new_in_every_step_stage_and_cell() -> None:
    """Standard normal; 4 standard errors of 3 × 65,536 numbers."""
    film = co_like((256, 256))
    first, second = thermal_field(film, (0, 0)), thermal_field(film, (1, 0))
    n = first.size
    assert abs(first.mean()) < 4 / np.sqrt(n)
    assert first.var() == pytest.approx(1, abs=4 * np.sqrt(2 / n))
    assert np.mean(first**4) == pytest.approx(3, abs=4 * np.sqrt(96 / n))
    for other in (
        second,
        np.roll(first, 1, axis=2),
        np.roll(first, 1, axis=0),
        thermal_field(replace(film, seed=8), (0, 0)),
        thermal_field(film, (0, 1)),
    ):
        assert abs(np.mean(first * other)) < 4 / np.sqrt(n)
    assert (thermal_field(co_like((256, 256), D=1e-3), (1, 0)) == second).all()


def test_the_compiled_thermal_field_is_the_same() -> None:
    """To the last bit; the seed has more than 32 of them, and cells lie in rows of another number than columns."""
    film, std = co_like((48, 32), seed=2**62 + 12345), 0.37
    compiled = np.ones((3, film.cells[0] * film.cells[1]), np.float32)
    add_thermal_field(compiled, std, np.uint64(film.seed), np.uint64(70_000), np.uint64(3))
    added = (std * thermal_field(film, (70_000, 3))).astype(np.float32).reshape(3, -1)
    np.testing.assert_array_equal(compiled, 1 + added)


def test_streams_are_independent() -> None:
    """Start, Ku1, grains and thermal field of one seed: 4 standard errors."""
    places = np.arange(65_536, dtype=np.uint64)
    streams = (STREAM_START, STREAM_KU1, STREAM_GRAINS, STREAM_THERMAL)
    drawn = np.array([normals(7, places, stream).ravel() for stream in streams])
    assert np.abs(np.corrcoef(drawn) - np.eye(4)).max() < 4 / np.sqrt(drawn.shape[1])
