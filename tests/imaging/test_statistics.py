"""The statistics of a picture, on stripes that are made with a known period, direction and share of up domains."""

import numpy as np
import pytest
from numpy.typing import NDArray

from magray.imaging.statistics import domain_statistics, wall_density

SIDE = 128


def stripes(period: float, angle: float, shape: tuple[int, int] = (SIDE, SIDE)) -> NDArray[np.float32]:
    """Return mz of stripes with walls a few pixels wide, whose wave vector has an angle (rad) to the x axis."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    phase = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period
    return np.asarray(np.tanh(period / 8 * np.sin(phase + 0.3)), np.float32)


ANGLES = np.radians([-80.0, -43.0, -20.0, 3.0, 10.0, 30.0, 60.0])


@pytest.mark.parametrize("period", [8.0, 13.7, 25.0, 40.0])
def test_the_period_of_stripes_is_found_at_any_angle(period: float) -> None:
    """Within 3 %, and within 7 % where the picture holds only three periods."""
    found = domain_statistics(np.stack([stripes(period, angle) for angle in ANGLES]), pixel=8e-9)
    np.testing.assert_allclose(found.period, period * 8e-9, rtol=0.03 if period < 30 else 0.07)


def test_walls_of_stripes_are_two_a_period() -> None:
    """Rows, columns and diagonals are four of all directions: stripes of any orientation are right within 6 %."""
    found = domain_statistics(np.stack([stripes(16.0, angle) for angle in ANGLES]), pixel=8e-9)
    np.testing.assert_allclose(found.wall_density, 2 / 16.0 / 8e-9, rtol=0.06)
    np.testing.assert_allclose(found.striped_period, 16.0 * 8e-9, rtol=0.07)


def test_the_direction_of_stripes_is_found() -> None:
    found = domain_statistics(np.stack([stripes(16.0, angle) for angle in ANGLES]))
    np.testing.assert_allclose(found.orientation, ANGLES, atol=0.03)
    assert np.all(found.order > 0.95)


def test_smooth_noise_has_no_direction_and_a_mean_wave_number() -> None:
    random = np.random.default_rng(3)
    spectrum = np.fft.rfft2(random.normal(size=(SIDE, SIDE)))
    k = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    ring = np.fft.irfft2(spectrum * (np.abs(k - 0.08) < 0.01))
    found = domain_statistics(ring)
    assert found.order[0] < 0.25
    assert found.period[0] == pytest.approx(1 / 0.08, rel=0.1)
    assert found.wave_number[0] == pytest.approx(2 * np.pi * 0.08, rel=0.03)


def test_the_sign_of_the_contrast_makes_no_difference() -> None:
    one, other = (domain_statistics(sign * stripes(16.0, 0.4)) for sign in (1, -1))
    for name in ("period", "wave_number", "wall_density", "orientation", "order"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-4)


def test_a_picture_need_not_be_square() -> None:
    found = domain_statistics(stripes(14.0, 0.5, (100, 160)))
    assert found.period[0] == pytest.approx(14.0, rel=0.04)


def test_a_picture_without_contrast_has_no_walls_and_no_period() -> None:
    found = domain_statistics(np.ones((2, SIDE, SIDE), np.float32))
    assert np.all(np.isnan(found.period))
    assert np.all(np.isnan(found.orientation))
    assert np.all(wall_density(np.ones((2, SIDE, SIDE))) == 0)
