"""Grains: a cell belongs to the nearest of all centres, grains have the given size, and maps never change."""

import zlib
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from magray.micromagnetics.grains import _nearest, grain_map, tiles
from magray.micromagnetics.philox import STREAM_GRAINS, uniforms

CELL = (2e-9, 2e-9, 1e-9)


def distances2(centres: NDArray[np.float64], nx: int, ny: int, dx: float, dy: float) -> NDArray[np.float64]:
    """Return the squared distances from each cell to the nearest image of every centre: (gy·gx, ny, nx), m²."""
    _, gy, gx = centres.shape
    x = (np.arange(gx) + centres[0]).reshape(-1, 1, 1) * nx * dx / gx - (np.arange(nx) + 0.5) * dx
    y = (np.arange(gy)[:, None] + centres[1]).reshape(-1, 1, 1) * ny * dy / gy - ((np.arange(ny) + 0.5) * dy)[:, None]
    x -= nx * dx * np.round(x / (nx * dx))
    y -= ny * dy * np.round(y / (ny * dy))
    return np.asarray(x**2 + y**2)


def areas(grains: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.bincount(grains.ravel())


# Film sides in grain sizes: the flattest and the narrowest tiles that rounding makes, for 1, 2, 3, 4 and 5 tiles.
SIDES = [0.3, 1.0, 1.49, 1.51, 2.49, 2.51, 3.49, 3.51, 4.49, 4.51, 7.0]


@pytest.mark.parametrize("side_y", SIDES)
@pytest.mark.parametrize("side_x", SIDES)
def test_every_cell_belongs_to_the_nearest_of_all_centres(side_x: float, side_y: float) -> None:
    """All tiles and all their repetitions, not only the 25 about the cell, find the same grain."""
    nx, ny, size = 24, 20, 50e-9
    cell = (side_x * size / nx, side_y * size / ny, 1e-9)
    gx, gy = tiles((nx, ny), cell, size)
    assert (gx, gy) == (max(1, round(side_x)), max(1, round(side_y)))
    for seed in range(5):
        centres = uniforms(seed, np.arange(gx * gy, dtype=np.uint64), STREAM_GRAINS)[:2].reshape(2, gy, gx)
        nearest = distances2(centres, nx, ny, cell[0], cell[1]).argmin(axis=0)
        assert (grain_map((nx, ny), cell, size, seed) == nearest).all()


@pytest.mark.parametrize("side_y", SIDES)
@pytest.mark.parametrize("side_x", SIDES)
def test_25_tiles_are_enough_for_the_worst_centres(side_x: float, side_y: float) -> None:
    """Centres in the corners of their tiles: as far from their own cells, and as near to others', as they can be."""
    nx, ny = 24, 20
    dx, dy = side_x / nx, side_y / ny
    gx, gy = max(1, round(side_x)), max(1, round(side_y))
    rng = np.random.default_rng(0)
    for _ in range(20):
        centres = rng.choice([2.0**-33, 1 - 2.0**-33], (2, gy, gx))
        d2 = distances2(centres, nx, ny, dx, dy)
        chosen = np.take_along_axis(d2, _nearest(centres, nx, ny, dx, dy)[None].astype(np.int64), axis=0)[0]
        assert np.abs(chosen - d2.min(axis=0)).max() < 1e-12  # corners meet: equally near centres are all right


def test_grains_have_the_given_size() -> None:
    """1024 nm are 51 tiles of 20.08 nm, so 2,601 grains; no grain is lost at 10 cells a side."""
    of_grain = areas(grain_map((512, 512), CELL, 20e-9, 7))
    assert of_grain.size == 51**2
    assert of_grain.min() > 0
    assert of_grain.mean() * 4 == pytest.approx(20**2, rel=0.01)  # nm²


def test_tiles_are_square_for_any_cells() -> None:
    """480 nm × 600 nm, in cells of 2 nm × 5 nm: 24 × 30 tiles of 20 nm."""
    grains = grain_map((240, 120), (2e-9, 5e-9, 1e-9), 20e-9, 1)
    assert grains.max() == 24 * 30 - 1
    assert areas(grains).mean() * 10 == pytest.approx(20**2, rel=1e-12)


def test_grains_vary_less_than_those_of_a_poisson_process() -> None:
    """Areas vary by 0.245 of their mean (measured), and by 0.53 for the Voronoi tessellation of a Poisson process:
    tiles keep centres apart. 10,404 grains put three standard errors at 0.005."""
    of_grain = areas(grain_map((2048, 2048), CELL, 40e-9, 3))
    assert of_grain.std() / of_grain.mean() == pytest.approx(0.245, abs=0.005)
    assert of_grain.max() < 2.5 * of_grain.mean()


def test_edges_of_the_film_are_no_boundaries() -> None:
    """As many neighbours are of two grains across them as anywhere else."""
    grains = grain_map((512, 512), CELL, 20e-9, 5)
    for axis in (0, 1):
        differ = (grains != np.roll(grains, 1, axis=axis)).mean(axis=1 - axis)
        assert abs(differ[0] - differ.mean()) < 3 * differ.std()


def test_moving_all_centres_by_a_tile_moves_all_grains() -> None:
    """Also across the edges of the film. 4 × 3 tiles of 8 × 10 cells."""
    centres = np.random.default_rng(0).random((2, 3, 4))
    nx, ny = 32, 30
    tiles = np.arange(12).reshape(3, 4)
    for along_y, along_x in ((0, 1), (1, 0), (2, 3)):
        moved = np.roll(centres, (along_y, along_x), axis=(1, 2))
        names = np.roll(tiles, (along_y, along_x), axis=(0, 1)).ravel()
        expected = np.roll(_nearest(centres, nx, ny, 1.0, 1.0), (10 * along_y, 8 * along_x), axis=(0, 1))
        assert (names[_nearest(moved, nx, ny, 1.0, 1.0)] == expected).all()


def test_another_seed_gives_other_grains() -> None:
    grains = grain_map((64, 48), CELL, 12e-9, 7)
    assert grains.dtype == np.int32
    assert (grains == grain_map((64, 48), CELL, 12e-9, 7)).all()
    assert (grains != grain_map((64, 48), CELL, 12e-9, 8)).mean() > 0.2
    assert (grains != grain_map((64, 48), CELL, 12e-9, 7 + 2**40)).mean() > 0.2


def test_grains_never_change() -> None:
    """Films in stores were made with these maps: a change of them needs another PHYSICS_VERSION."""
    grains = grain_map((512, 256), (2e-9, 3e-9, 1e-9), 17e-9, 2**40 + 7)
    assert zlib.crc32(grains.astype("<i4").tobytes()) == 2441300766


def test_no_operation_is_fused() -> None:
    """A multiply-add that rounds once would put cells on other sides of a boundary than a GPU does."""
    nearest: Any = numba.njit(_nearest.py_func)  # code from the cache cannot be read
    nearest(np.zeros((2, 1, 1)), 1, 1, 1.0, 1.0)
    (code,) = nearest.inspect_asm().values()
    assert "mul" in code
    assert not any(fused in code for fused in ("vfm", "vfnm", "fmadd", "fmsub", "fmla", "fmls"))
