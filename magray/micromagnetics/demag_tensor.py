"""The demagnetising tensor N of a film, with all its repetitions in x and y: H = −Ms N ∗ m, averages over cells.

Three distances, three means, all in double precision:

- near (up to NEAR cell sides): the closed form of Newell, Williams and Dunlop (J. Geophys. Res. 98, 9551, 1993);
- far: the dipole tensor −V/4π ∂i∂j (1/r), averaged over the two cells. The difference of two points in equal cells is
  distributed as a triangle along each axis; a three-point Gauss rule for that weight is exact to the fifth power, so
  what is left is of sixth order in (cell side / distance);
- beyond the images that are summed one by one: the integral of the dipole tensor over the rest of the plane, in closed
  form. A sum over a lattice is the integral of F − L²/24 (∂x² + ∂y²) F to fourth order in (period L / distance).

A film with open edges along an axis has no images there: the plane shrinks to a line, or to nothing. It is followed by
as many empty cells along that axis; what wraps around their whole number meets no cell with moments.

A single layer has no Nxz or Nyz. N is even in x and in y (Nxy: odd in both), so a quarter of the film decides it.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from magray.micromagnetics.compiled import compiled

Array = NDArray[np.floating]
Sides = tuple[float, float, float]
Pair = tuple[int, int]  # along x, along y

NEAR = 16.0  # largest cell sides
SUMMED = 2048  # cells: images are summed one by one out to here at least
XX, YY, ZZ, XY = range(4)

_NODE = math.sqrt(0.4)  # Gauss nodes 0 and ±√(2/5) of the weight 1 − |u| on [−1, 1]
_NODES = np.array([-_NODE, 0.0, _NODE])
_WEIGHTS = np.array([5 / 24, 7 / 12, 5 / 24])
_MIDPOINT = np.array([-1 / 24, 13 / 12, -1 / 24])  # 1 − L²/24 ∂², as a difference over one period to either side


def newell_f(x: Array, y: Array, z: Array) -> Array:
    """Newell's f, even in all arguments. Nxx is its second difference along x, y and z over 4π V."""
    x, y, z = np.broadcast_arrays(np.abs(x), np.abs(y), np.abs(z))
    r = np.sqrt(x**2 + y**2 + z**2)
    return np.asarray(
        (2 * x**2 - y**2 - z**2) * r / 6
        + y / 2 * (z**2 - x**2) * _arsinh(y, x**2 + z**2)
        + z / 2 * (y**2 - x**2) * _arsinh(z, x**2 + y**2)
        - x * y * z * np.arctan2(y * z, x * r)
    )


def newell_g(x: Array, y: Array, z: Array) -> Array:
    """Newell's g, odd in x and in y. Nxy is its second difference along x, y and z over 4π V."""
    x, y, z = np.broadcast_arrays(x, y, np.abs(z))
    r = np.sqrt(x**2 + y**2 + z**2)
    return np.asarray(
        x * y * z * _arsinh(z, x**2 + y**2)
        + y / 6 * (3 * z**2 - y**2) * _arsinh(x, y**2 + z**2)
        + x / 6 * (3 * z**2 - x**2) * _arsinh(y, x**2 + z**2)
        - z**3 / 6 * _arctan(x * y, z * r)
        - z * y**2 / 2 * _arctan(x * z, y * r)
        - z * x**2 / 2 * _arctan(y * z, x * r)
        - x * y * r / 3
    )


def _arsinh(a: Array, b2: Array) -> Array:
    """arsinh(a / √b2), and 0 where b2 = 0: its factor vanishes there."""
    return np.arcsinh(np.divide(a, np.sqrt(b2), out=np.zeros(a.shape), where=b2 > 0))


def _arctan(a: Array, b: Array) -> Array:
    """arctan(a / b), and 0 where b = 0: its factor vanishes there."""
    return np.arctan(np.divide(a, b, out=np.zeros(a.shape), where=b != 0))


def newell_tensor(count_x: int, count_y: int, cell: Sides) -> Array:
    """N between cells (i, j) steps apart, i < count_x, j < count_y: Nxx, Nyy, Nzz, Nxy as (4, count_y, count_x)."""
    # in units of the largest side: volumes of 1e-26 m³ never appear
    dx, dy, dz = (side / max(cell) for side in cell)
    x = dx * np.arange(-1, count_x + 1)[None, None, :]
    y = dy * np.arange(-1, count_y + 1)[None, :, None]
    z = dz * np.array([-1.0, 0.0, 1.0])[:, None, None]
    components = (newell_f(x, y, z), newell_f(y, x, z), newell_f(z, y, x), newell_g(x, y, z))
    return np.stack([_second_difference(c) / (4 * math.pi * dx * dy * dz) for c in components])


def _second_difference(f: Array) -> Array:
    """−δx² δy² δz² f at the middle layer: (3, ny + 2, nx + 2) → (ny, nx)."""
    for axis in range(3):
        f = -np.diff(f, 2, axis=axis)
    return np.asarray(f[0])


@compiled()
def _far_cell(x: float, y: float, dx: float, dy: float, dz: float, out: Array) -> None:
    """Adds N between two cells that are (x, y) apart, in units of length of dx, dy, dz, to out[4]."""
    volume = dx * dy * dz / (4 * math.pi)
    for a in range(3):
        for b in range(3):
            for c in range(3):
                X, Y, Z = x + _NODES[a] * dx, y + _NODES[b] * dy, _NODES[c] * dz
                r2 = X * X + Y * Y + Z * Z
                w = _WEIGHTS[a] * _WEIGHTS[b] * _WEIGHTS[c] * volume / (r2 * r2 * math.sqrt(r2))
                out[0] += w * (r2 - 3 * X * X)
                out[1] += w * (r2 - 3 * Y * Y)
                out[2] += w * (r2 - 3 * Z * Z)
                out[3] -= w * 3 * X * Y


@compiled()
def _tail_of_plane(x: float, y: float, period: tuple[float, float], images: Pair, out: Array) -> None:
    """Adds the dipole tensor of V = 1, summed over the images that are not summed one by one, times a period's area.

    −1/4π ∫ ∂i∂j (1/r) outside a rectangle is a sum over its corners.
    """
    for a in range(-1, 2):
        for b in range(-1, 2):
            for sx in (-1, 1):
                for sy in (-1, 1):
                    X = x + sx * (images[0] + 0.5) * period[0] + a * period[0]
                    Y = y + sy * (images[1] + 0.5) * period[1] + b * period[1]
                    r = math.sqrt(X * X + Y * Y)
                    w = sx * sy * _MIDPOINT[a + 1] * _MIDPOINT[b + 1] / (4 * math.pi)
                    out[0] -= w * Y / (X * r)
                    out[1] -= w * X / (Y * r)
                    out[2] += w * r / (X * Y)
                    out[3] += w / r


@compiled()
def _tail_of_line(across: float, along: float, period: float, images: int, out: Array, axes: Pair) -> None:
    """The same for images along one axis only, times a period's length. `axes`: the components across and along.

    −1/4π ∫ ∂i∂j (1/r) beyond the two ends of a line.
    """
    for a in range(-1, 2):
        for s in (-1, 1):
            Y = (images + 0.5) * period + s * (along + a * period)
            r = math.sqrt(across * across + Y * Y)
            w = _MIDPOINT[a + 1] / (4 * math.pi)
            out[axes[0]] += w * (Y / (r * r * r) - 1 / (r * (r + Y)))
            out[axes[1]] -= w * Y / (r * r * r)
            out[2] += w / (r * (r + Y))
            out[3] -= w * s * across / (r * r * r)


@compiled()
def _tail(x: float, y: float, nx: int, ny: int, cell: Sides, images: Pair, out: Array) -> None:
    """Sets out[4] to N of the images that are not summed one by one; none along an axis with images = 0."""
    dx, dy, dz = cell
    out[:] = 0
    if images[0] > 0 and images[1] > 0:
        _tail_of_plane(x, y, (nx * dx, ny * dy), images, out)
        out *= dz / (nx * ny)  # V / area of a period
    elif images[0] > 0:
        _tail_of_line(y, x, nx * dx, images[0], out, (1, 0))
        out *= dy * dz / nx  # V / length of a period
    elif images[1] > 0:
        _tail_of_line(x, y, ny * dy, images[1], out, (0, 1))
        out *= dx * dz / ny


@compiled()
def _far_quarter(nx: int, ny: int, cell: Sides, near2: float, images: Pair) -> Array:
    """All but the near cells' part of N in the quarter 0 ≤ i ≤ nx/2, 0 ≤ j ≤ ny/2."""
    dx, dy, dz = cell
    px, py = images
    n = np.zeros((4, ny // 2 + 1, nx // 2 + 1))
    one = np.zeros(4)
    for j in range(ny // 2 + 1):
        for i in range(nx // 2 + 1):
            _tail(i * dx, j * dy, nx, ny, cell, images, one)
            for q in range(-py, py + 1):
                for p in range(-px, px + 1):
                    x, y = (i + p * nx) * dx, (j + q * ny) * dy
                    if x * x + y * y > near2:
                        _far_cell(x, y, dx, dy, dz, one)
            n[:, j, i] = one
    return n


def _add_near_cells(n: Array, nx: int, ny: int, cell: Sides, near: float, images: Pair) -> None:
    """Adds the closed form for the cell and every image of it that lies within `near` (m) to the quarter `n`."""
    reach_x = int(near / cell[0]) if images[0] else min(int(near / cell[0]), nx // 2)
    reach_y = int(near / cell[1]) if images[1] else min(int(near / cell[1]), ny // 2)
    closed = newell_tensor(reach_x + 1, reach_y + 1, cell)
    for step_y in range(-reach_y, reach_y + 1):
        for step_x in range(-reach_x, reach_x + 1):
            i, j = step_x % nx, step_y % ny
            inside = (step_x * cell[0]) ** 2 + (step_y * cell[1]) ** 2 <= near**2
            if inside and i <= nx // 2 and j <= ny // 2:
                sign = np.array([1, 1, 1, -1 if step_x * step_y < 0 else 1])
                n[:, j, i] += sign * closed[:, abs(step_y), abs(step_x)]


def tensor_quarter(cells: Pair, cell_size: Sides, open_edges: tuple[bool, bool] = (False, False)) -> Array:
    """N between cells (i, j) apart, 0 ≤ i ≤ px/2, 0 ≤ j ≤ py/2: (4, py/2+1, px/2+1).

    px = nx cells along a periodic axis; 2 nx along an open one, where no two cells are nx apart: N = 0 there.
    """
    nx, ny = _padded(cells, open_edges)
    unit = max(cell_size)
    dx, dy, dz = (side / unit for side in cell_size)
    more = 2 if any(open_edges) else 1  # images on a line are few, and poles on open edges ask for more of them
    image_x, image_y = (
        0 if is_open else more * max(2, math.ceil(SUMMED / n)) for n, is_open in zip(cells, open_edges, strict=True)
    )
    n: Array = _far_quarter(nx, ny, (dx, dy, dz), NEAR**2, (image_x, image_y))
    _add_near_cells(n, nx, ny, (dx, dy, dz), NEAR, (image_x, image_y))
    n[XY, :, [0, nx // 2]] = 0  # odd and periodic: exactly 0 there
    n[XY, [0, ny // 2], :] = 0
    if open_edges[0]:
        n[:, :, nx // 2] = 0
    if open_edges[1]:
        n[:, ny // 2, :] = 0
    return n


def _padded(cells: Pair, open_edges: tuple[bool, bool]) -> Pair:
    """Cells along x and y, with as many empty ones behind them along an open axis."""
    return cells[0] * (1 + open_edges[0]), cells[1] * (1 + open_edges[1])


@lru_cache(maxsize=16)
def fourier_tensor(cells: Pair, cell_size: Sides, open_edges: tuple[bool, bool] = (False, False)) -> Array:
    """N in Fourier space on the half spectrum of rfft2: real, (4, py, px/2+1) for Nxx, Nyy, Nzz, Nxy; read-only.

    `open_edges`: whether the film ends along x, along y. (px, py) are `cells`, doubled along open axes. In units of Ms
    h = −irfft2(N · rfft2(m, (py, px)), (py, px)), of which the first (ny, nx) cells are the film.
    """
    nx, ny = _padded(cells, open_edges)
    quarter = tensor_quarter(cells, cell_size, open_edges)
    i, j = np.arange(nx), np.arange(ny)
    n = quarter[:, np.minimum(j, ny - j)[:, None], np.minimum(i, nx - i)[None, :]]
    n[XY] *= np.where(j > ny // 2, -1, 1)[:, None] * np.where(i > nx // 2, -1, 1)[None, :]
    spectrum = np.ascontiguousarray(np.fft.rfft2(n).real)
    spectrum.flags.writeable = False
    return spectrum
