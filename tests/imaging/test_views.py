"""Views are exact, wrap around periodic films, and are the same from NumPy and from torch."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from magray.errors import UserError
from magray.imaging import area_average, cells_of, crop, rotate, scale_of, shifted, tiles, views
from magray.imaging.views import resample


def picture(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def brute_force_average(image: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
    """Return means over old pixels divided into size × size equal parts, of which a new pixel is a whole number."""
    h, w = image.shape
    parts = np.kron(image.astype(float), np.ones((size, size)))
    return np.asarray(parts.reshape(size, h, size, w).mean(axis=(1, 3)))


@pytest.mark.parametrize(("h", "w", "size"), [(24, 24, 8), (12, 12, 8), (9, 15, 8), (8, 8, 8), (3, 5, 8)])
def test_area_averages_are_those_of_a_brute_force_sum(h: int, w: int, size: int) -> None:
    """Integer ratios, 3 : 2 as 192 cells on 128 pixels, other ratios, 1, and pictures coarser than the view."""
    image = picture(h, w)
    np.testing.assert_allclose(area_average(image, size), brute_force_average(image, size), rtol=1e-5)


def test_a_view_keeps_the_mean_of_its_film() -> None:
    image = picture(1, 192, 192)
    assert area_average(image).mean() == pytest.approx(image.mean(), rel=1e-5)


def test_numpy_and_torch_give_the_same_views() -> None:
    images = picture(3, 96, 64)
    tensor = torch.from_numpy(images)
    rows = np.array([90, 0, 7])
    np.testing.assert_array_equal(crop(tensor, 48, rows, 60).numpy(), crop(images, 48, rows, 60))
    np.testing.assert_array_equal(tiles(tensor, 32).numpy(), tiles(images, 32))
    np.testing.assert_array_equal(rotate(tensor, 3).numpy(), rotate(images, 3))
    np.testing.assert_allclose(area_average(tensor).numpy(), area_average(images), rtol=1e-5)


def test_a_crop_wraps_around_the_periodic_film() -> None:
    image = picture(1, 16, 24)
    expected = np.roll(image, (-12, -20), axis=(1, 2))[:, :10, :10]
    np.testing.assert_array_equal(crop(image, 10, 12, 20), expected)


def test_tiles_cover_a_film_once_without_incomplete_tiles() -> None:
    image = picture(1, 16, 24)
    parts = tiles(image, 8)
    np.testing.assert_array_equal(parts[0, 4], image[0, 8:16, 8:16])
    assert parts.shape == (1, 6, 8, 8)
    assert np.sort(parts.ravel()).tolist() == np.sort(image.ravel()).tolist()
    assert tiles(image, 10).shape == (1, 2, 10, 10)


def test_four_quarter_turns_are_none() -> None:
    image = picture(2, 8, 8)
    np.testing.assert_array_equal(rotate(rotate(image, 1), 3), image)
    assert not np.array_equal(rotate(image, 1), image)


@pytest.mark.parametrize(("scale", "cells"), [(0.25, 64), (0.5, 128), (0.75, 192), (2.0, 512), (0.6, 154), (0.8, 205)])
def test_scales_are_counted_as_the_paper_counts_them(scale: float, cells: int) -> None:
    """The scale "1.0 µm" is 256 cells of 4 nm, and "2.0 µm" a whole film of 512."""
    assert cells_of(scale, 4.0) == cells
    assert math.isclose(scale_of(cells, 4.0), scale, rel_tol=0.005)


def test_scales_that_cannot_be_shown_are_refused() -> None:
    with pytest.raises(UserError, match=r"0.01 µm is 2.56 pixels"):
        cells_of(0.01, 4.0)
    with pytest.raises(UserError, match="above 0"):
        cells_of(-1.0, 4.0)
    with pytest.raises(UserError, match="256 × 256 cells does not fit into a film of 128 × 128"):
        views(picture(1, 128, 128), 1.0, 4.0)


def test_views_have_the_networks_size_at_every_scale() -> None:
    films = picture(2, 256, 256)
    assert [views(films, scale, 4.0).shape for scale in (0.25, 0.75)] == [(2, 16, 128, 128), (2, 1, 128, 128)]


def test_views_of_a_shifted_film_begin_between_two_cells() -> None:
    """A pixel of two cells that begins at 0.3 of a cell covers 0.7 of the first, the second, and 0.3 of the third."""
    film = np.random.default_rng(0).integers(256, size=(2, 256, 256)).astype(np.uint8)
    seen = area_average(shifted(film, np.array([0.0, 0.3]), 0.0))
    straight, next_row = (area_average(np.roll(film, -rows, 1)) for rows in (0, 1))
    np.testing.assert_allclose(seen[0], straight[0], rtol=1e-5)
    np.testing.assert_allclose(seen[1], 0.7 * straight[1] + 0.3 * next_row[1], rtol=1e-5)
    np.testing.assert_allclose(shifted(film, 0.0, 1.0), np.roll(film, -1, 2))


@pytest.mark.parametrize("side", [128, 150, 192, 256, 300])
def test_a_wave_is_seen_as_a_gaussian_sees_it_whatever_the_pixels_of_the_square(side: int) -> None:
    """It keeps exp(−2 (π σ / period)²) of itself, and nothing else appears: means would leave a 500th of it at n = 1.5.

    The last pixels, which see the mirrored edge, are left out.
    """
    period, spread, step = 16.0, 0.65, side / 128
    cells = (np.arange(side) + 0.5) / step
    square = np.broadcast_to(np.cos(2 * np.pi * cells / period), (1, side, side)).astype(np.float32)
    seen = resample(square, spread)[0, :, 6:-6]
    left = math.exp(-2 * (math.pi * spread / period) ** 2)
    expected = left * np.cos(2 * np.pi * (np.arange(128) + 0.5) / period)
    assert np.abs(seen - expected[6:-6]).max() < 1e-3
