"""The demagnetising tensor N of a film with all its periodic images in x and y: H = −Ms N ∗ m, averaged over cells.

Four ranges of distance have methods of their own, all in double precision, with a cell's largest side as the unit:

- near (up to NEAR): the closed form of Newell, Williams and Dunlop (J. Geophys. Res. 98, 9551, 1993);
- far (up to SMOOTH): the dipole tensor −V/4π ∂i∂j (1/r), averaged over the two cells. The difference of two points in
  equal cells is distributed as a triangle along each axis; a three-point Gauss rule for that weight is exact to the
  fifth power, so what is left is of sixth order in (cell side / distance);
- farther: the same average to second order, F + (dx² ∂x² + dy² ∂y² + dz² ∂z²) F / 12, which leaves the fourth;
- beyond the images that are summed one by one: the integral of the dipole tensor over the rest of the plane, in closed
  form. A sum over a lattice is the integral of F − L²/24 (∂x² + ∂y²) F to fourth order in (period L / distance).

A film with open edges along an axis has no images there: the plane shrinks to a line, or to nothing. It is followed by
as many empty cells along that axis; what wraps around their whole number meets no cell with moments.

A single layer has no Nxz or Nyz. N is even in x and in y (Nxy: odd in both), so a quarter of the film decides it, in
Fourier space too. gpu/tensor.cu computes the same on a GPU.
"""

import math
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from magray.micromagnetics.compiled import compiled

Array = NDArray[np.floating]
Sides = tuple[float, float, float]
Pair = tuple[int, int]  # along x, along y

NEAR, SMOOTH = 16.0, 48.0  # largest cell sides
SUMMED = 2048  # cells: images are summed one by one out to here at least
XX, YY, ZZ, XY = range(4)

_NODE = math.sqrt(0.4)  # Gauss nodes 0 and ±√(2/5) of the weight 1 − |u| on [−1, 1]
_NODES = np.array([-_NODE, 0.0, _NODE])
_WEIGHTS = np.array([5 / 24, 7 / 12, 5 / 24])
_MIDPOINT = np.array([-1 / 24, 13 / 12, -1 / 24])  # 1 − L²/24 ∂², as a difference over one period to either side


def _newell_f(x: Array, y: Array, z: Array) -> Array:
    """Return Newell's f, even in all arguments. Nxx is its second difference along x, y and z over 4π V."""
    x, y, z = np.broadcast_arrays(np.abs(x), np.abs(y), np.abs(z))
    r = np.sqrt(x**2 + y**2 + z**2)
    return np.asarray(
        (2 * x**2 - y**2 - z**2) * r / 6
        + y / 2 * (z**2 - x**2) * _arsinh(y, x**2 + z**2)
        + z / 2 * (y**2 - x**2) * _arsinh(z, x**2 + y**2)
        - x * y * z * np.arctan2(y * z, x * r)
    )


def _newell_g(x: Array, y: Array, z: Array) -> Array:
    """Return Newell's g, odd in x and in y. Nxy is its second difference along x, y and z over 4π V."""
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
    """Return arsinh(a / √b2), and 0 where b2 = 0: its factor vanishes there."""
    return np.arcsinh(np.divide(a, np.sqrt(b2), out=np.zeros(a.shape), where=b2 > 0))


def _arctan(a: Array, b: Array) -> Array:
    """Return arctan(a / b), and 0 where b = 0: its factor vanishes there."""
    return np.arctan(np.divide(a, b, out=np.zeros(a.shape), where=b != 0))


def newell_tensor(count_x: int, count_y: int, cell: Sides) -> Array:
    """Return Nxx, Nyy, Nzz, Nxy between cells (i, j) steps apart, i < count_x, j < count_y: (4, count_y, count_x)."""
    # in units of the largest side: volumes of 1e-26 m³ never appear
    dx, dy, dz = (side / max(cell) for side in cell)
    x = dx * np.arange(-1, count_x + 1)[None, None, :]
    y = dy * np.arange(-1, count_y + 1)[None, :, None]
    z = dz * np.array([-1.0, 0.0, 1.0])[:, None, None]
    components = (_newell_f(x, y, z), _newell_f(y, x, z), _newell_f(z, y, x), _newell_g(x, y, z))
    return np.stack([_second_difference(c) / (4 * math.pi * dx * dy * dz) for c in components])


def _second_difference(f: Array) -> Array:
    """Return −δx² δy² δz² f at the middle layer: (3, ny + 2, nx + 2) → (ny, nx)."""
    for axis in range(3):
        f = -np.diff(f, 2, axis=axis)
    return np.asarray(f[0])


@compiled()
def _far_cell(x: float, y: float, dx: float, dy: float, dz: float, out: Array) -> None:
    """Add N between two cells that are (x, y) apart, in the units of dx, dy, dz, to out[4]."""
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
    """Add the dipole tensor of V = 1 of the images that are not summed one by one, times a period's area.

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
    """Add the same for images along one axis only, times a period's length. `axes`: the components across and along.

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
    """Set out[4] to N of the images that are not summed one by one; none along an axis with images = 0."""
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


@compiled(error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"})
def _add_smooth_row(n: Array, first: int, last: int, x: float, y: float, cell: Sides) -> None:
    """Add N to second order to the cells `first` to `last` of a row, at x + i dx and y from their source."""
    dx, dy, dz = cell
    volume = dx * dy * dz / (4 * math.pi)
    second_x, second_y = (dx * dx - dz * dz) / 12, (dy * dy - dz * dz) / 12  # F has no Laplacian
    xx, yy, zz, xy, y2 = n[0], n[1], n[2], n[3], y * y
    for i in range(first, last):
        X = x + i * dx
        inverse = 1 / (X * X + y2)
        w, u = volume * inverse * math.sqrt(inverse), X * X * inverse
        v, a, b, cross = 1 - u, second_x * inverse, second_y * inverse, 105 * u * (1 - u) - 12
        nxx = w * (1 - 3 * u - a * (9 - (90 - 105 * u) * u) - b * cross)
        nyy = w * (1 - 3 * v - b * (9 - (90 - 105 * v) * v) - a * cross)
        xx[i] += nxx
        yy[i] += nyy
        zz[i] -= nxx + nyy
        xy[i] -= w * inverse * X * y * (3 + a * (105 * u - 45) + b * (105 * v - 45))


@compiled()
def _far_quarter(nx: int, ny: int, cell: Sides, near: float, smooth: float, images: Pair) -> Array:
    """Return N without the part of near cells, in the quarter 0 ≤ i ≤ nx/2, 0 ≤ j ≤ ny/2."""
    dx, dy, dz = cell
    px, py = images
    n = np.zeros((4, ny // 2 + 1, nx // 2 + 1))
    one, row = np.zeros(4), np.zeros((4, nx // 2 + 1))
    for j in range(ny // 2 + 1):
        for i in range(nx // 2 + 1):
            _tail(i * dx, j * dy, nx, ny, cell, images, one)
            row[:, i] = one
        for q in range(-py, py + 1):
            y = (j + q * ny) * dy
            reach = int(math.sqrt(max(0.0, smooth * smooth - y * y)) / dx) if abs(y) <= smooth else -1
            for p in range(-px, px + 1):
                begin = min(max(-p * nx - reach, 0), nx // 2 + 1)  # of the cells that are not smooth
                end = max(min(-p * nx + reach, nx // 2) + 1, begin)
                _add_smooth_row(row, 0, begin, p * nx * dx, y, cell)
                for i in range(begin, end):
                    x = (i + p * nx) * dx
                    if x * x + y * y > near * near:
                        one[:] = 0
                        _far_cell(x, y, dx, dy, dz, one)
                        row[:, i] += one
                _add_smooth_row(row, end, nx // 2 + 1, p * nx * dx, y, cell)
        n[:, j] = row
    return n


@compiled()
def _fold(closed: Array, n: Array, cells: Pair, cell: Sides, near: float) -> None:
    """Add the closed form, (4, reach_y + 1, reach_x + 1), for the cells within `near` and their mirror images."""
    nx, ny = cells
    _, count_y, count_x = closed.shape
    for step_y in range(1 - count_y, count_y):
        for step_x in range(1 - count_x, count_x):
            i, j = step_x % nx, step_y % ny
            is_near = (step_x * cell[0]) ** 2 + (step_y * cell[1]) ** 2 <= near**2
            if is_near and i <= nx // 2 and j <= ny // 2:
                for c in range(3):
                    n[c, j, i] += closed[c, abs(step_y), abs(step_x)]
                xy = closed[3, abs(step_y), abs(step_x)]
                n[3, j, i] += -xy if step_x * step_y < 0 else xy


def _add_near_cells(n: Array, nx: int, ny: int, cell: Sides, near: float, images: Pair) -> None:
    """Add the closed form for the cell and every image of it within `near` to the quarter `n`."""
    reach_x = int(near / cell[0]) if images[0] else min(int(near / cell[0]), nx // 2)
    reach_y = int(near / cell[1]) if images[1] else min(int(near / cell[1]), ny // 2)
    _fold(newell_tensor(reach_x + 1, reach_y + 1, cell), n, (nx, ny), cell, near)


def summed_images(cells: Pair, open_edges: tuple[bool, bool]) -> Pair:
    """Return how many images are summed one by one to either side, along x and along y."""
    more = 2 if any(open_edges) else 1  # images on a line are few, and poles on open edges ask for more of them
    x, y = (
        0 if is_open else more * max(2, math.ceil(SUMMED / n)) for n, is_open in zip(cells, open_edges, strict=True)
    )
    return x, y


def tensor_quarter(cells: Pair, cell_size: Sides, open_edges: tuple[bool, bool] = (False, False)) -> Array:
    """Return N between cells (i, j) apart, 0 ≤ i ≤ px/2, 0 ≤ j ≤ py/2: (4, py/2+1, px/2+1).

    px = nx cells along a periodic axis; 2 nx along an open one, where no two cells are nx apart: N = 0 there.
    """
    nx, ny = padded_cells(cells, open_edges)
    unit = max(cell_size)
    dx, dy, dz = (side / unit for side in cell_size)
    images = summed_images(cells, open_edges)
    n: Array = _far_quarter(nx, ny, (dx, dy, dz), NEAR, SMOOTH, images)
    _add_near_cells(n, nx, ny, (dx, dy, dz), NEAR, images)
    n[XY, :, [0, nx // 2]] = 0  # odd and periodic: exactly 0 there
    n[XY, [0, ny // 2], :] = 0
    if open_edges[0]:
        n[:, :, nx // 2] = 0
    if open_edges[1]:
        n[:, ny // 2, :] = 0
    return n


def padded_cells(cells: Pair, open_edges: tuple[bool, bool]) -> Pair:
    """Return the cells along x and y, with as many empty ones behind them along an open axis."""
    return cells[0] * (1 + open_edges[0]), cells[1] * (1 + open_edges[1])


def waves_quarter(cells: Pair, cell_size: Sides, open_edges: tuple[bool, bool] = (False, False)) -> Array:
    """Return N in Fourier space for the non-negative wave numbers along both axes: (4, py/2+1, px/2+1)."""
    n = tensor_quarter(cells, cell_size, open_edges)
    n[:XY] = scipy.fft.dctn(n[:XY], type=1, axes=(1, 2))
    if n[XY, 1:-1, 1:-1].size:
        n[XY, 1:-1, 1:-1] = -scipy.fft.dstn(n[XY, 1:-1, 1:-1], type=1)
    return n


@lru_cache(maxsize=16)
def fourier_tensor(cells: Pair, cell_size: Sides, open_edges: tuple[bool, bool] = (False, False)) -> Array:
    """Return N in Fourier space on the half spectrum of rfft2: real, (4, py, px/2+1) for Nxx, Nyy, Nzz, Nxy; read-only.

    `open_edges`: whether the film ends along x, along y. (px, py) are `cells`, doubled along open axes. In units of Ms
    h = −irfft2(N · rfft2(m, (py, px)), (py, px)), of which the first (ny, nx) cells are the film.
    """
    quarter = waves_quarter(cells, cell_size, open_edges)
    mirrored = quarter[:, -2:0:-1] * np.array([1, 1, 1, -1])[:, None, None]
    spectrum = np.concatenate([quarter, mirrored], axis=1)
    spectrum.flags.writeable = False
    return spectrum
