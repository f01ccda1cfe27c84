"""The random inputs of a film, from its seed: the initial state, the map of Ku1, and the thermal field."""

import math

import numpy as np
from numpy.typing import NDArray

from magray.films.film import Film
from magray.films.protocol import Random, Uniform, Vector
from magray.micromagnetics.grains import grain_map
from magray.micromagnetics.mask import mask
from magray.micromagnetics.philox import STREAM_KU1, STREAM_START, STREAM_THERMAL, normals, uniforms


def _cells(film: Film) -> NDArray[np.uint64]:
    return np.arange(film.cells[0] * film.cells[1], dtype=np.uint64)


def square_of(film: Film) -> tuple[int, int]:
    """Return the sides, in cells, of the squares that begin with one random direction."""
    initial = film.protocol.initial
    return initial.square(film.cell_size) if isinstance(initial, Random) else (1, 1)


def _squares(film: Film, square: tuple[int, int]) -> NDArray[np.uint64]:
    """Return the number of the square (nx ny,) in which each cell lies."""
    y, x = np.divmod(np.arange(film.cells[0] * film.cells[1]), film.cells[0])
    across = -(-film.cells[0] // square[0])
    return np.asarray(y // square[1] * across + x // square[0], np.uint64)


def _vectors(film: Film, x: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(x, np.float32).reshape(3, film.cells[1], film.cells[0])


def random_directions(film: Film, square: tuple[int, int] = (1, 1)) -> NDArray[np.float32]:
    """Return unit vectors, uniform on the sphere and independent in squares of so many cells: (3, ny, nx)."""
    u = uniforms(film.seed, _squares(film, square), STREAM_START)
    z, angle = 2 * u[0] - 1, 2 * np.pi * u[1]
    r = np.sqrt(1 - z * z)
    return _vectors(film, np.stack([r * np.cos(angle), r * np.sin(angle), z]))


def tilted(film: Film, state: Uniform) -> NDArray[np.float32]:
    """Return unit vectors about one direction, with normally distributed deviations: (3, ny, nx)."""
    m = unit(state.direction)[:, None] + state.noise * normals(film.seed, _cells(film), STREAM_START)
    return _vectors(film, m / np.sqrt(m[0] * m[0] + m[1] * m[1] + m[2] * m[2]))


def unit(direction: Vector) -> NDArray[np.float64]:
    """Return the unit vector along `direction`."""
    return np.array(direction) / math.hypot(*direction)


def ku1_map(film: Film) -> NDArray[np.float32]:
    """Return Ku1 relative to the film's mean: 1 + sigma·ξ, ξ standard normal for each grain: (ny, nx)."""
    nx, ny = film.cells
    if film.sigma == 0:
        return np.ones((ny, nx), np.float32)
    grains: NDArray[np.int32]
    if not film.grain_size:
        grains = np.arange(nx * ny, dtype=np.int32).reshape(ny, nx)
    else:
        grains = grain_map(film.cells, film.cell_size, film.grain_size, film.seed)
    of_grain = normals(film.seed, np.arange(grains.max() + 1, dtype=np.uint64), STREAM_KU1)[0]
    return np.asarray((1 + film.sigma * of_grain)[grains], np.float32)


def initial_state(film: Film) -> NDArray[np.float32]:
    """Return the initial state of the film's protocol: unit vectors, 0 outside of the film, (3, ny, nx)."""
    initial = film.protocol.initial
    m = tilted(film, initial) if isinstance(initial, Uniform) else random_directions(film, square_of(film))
    return np.where(mask(film), m, np.float32(0))


def thermal_field(film: Film, counter: tuple[int, int]) -> NDArray[np.float64]:
    """Return three standard normal numbers for each cell, new in each (step, stage): (3, ny, nx)."""
    nx, ny = film.cells
    return normals(film.seed, _cells(film), STREAM_THERMAL, counter).reshape(3, ny, nx)


def tilted_again(film: Film, m: NDArray[np.floating], noise: float, counter: tuple[int, int]) -> NDArray[np.floating]:
    """Return m with each cell tilted by a normally distributed angle of `noise` rad, new in each (step, stage)."""
    turned = m + noise * thermal_field(film, counter)
    turned /= np.sqrt(turned[0] * turned[0] + turned[1] * turned[1] + turned[2] * turned[2])
    return np.asarray(np.where(mask(film), turned, 0), m.dtype)
