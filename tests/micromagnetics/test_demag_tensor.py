"""The demagnetising tensor against tabulated numbers, uniform limits and independent sums in Fourier and real space."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from magray.micromagnetics.demag_tensor import (
    NEAR,
    SMOOTH,
    XX,
    XY,
    YY,
    ZZ,
    _far_cell,
    fourier_tensor,
    newell_tensor,
    tensor_quarter,
)

CUBE = (1.0, 1.0, 1.0)
GEOMETRIES = [
    ((8, 8), (4e-9, 4e-9, 4e-9)),
    ((256, 256), (4e-9, 4e-9, 4e-9)),
    ((512, 512), (4e-9, 4e-9, 4e-9)),
    ((64, 8), (4e-9, 4e-9, 4e-9)),
    ((48, 20), (3e-9, 5e-9, 1e-9)),
]
PERIODIC, OPEN_X, OPEN_Y, OPEN = (False, False), (True, False), (False, True), (True, True)
ODD_XY = np.array([1, 1, 1, -1])


def field_of(
    m: NDArray[np.float64], cell_size: tuple[float, float, float], open_edges: tuple[bool, bool]
) -> NDArray[np.float64]:
    """Return the demagnetising field in units of Ms: (3, ny, nx)."""
    _, ny, nx = m.shape
    shape = ny * (1 + open_edges[1]), nx * (1 + open_edges[0])
    nxx, nyy, nzz, nxy = fourier_tensor((nx, ny), cell_size, open_edges)
    mx, my, mz = np.fft.rfft2(m, shape)
    h = np.fft.irfft2(np.stack([nxx * mx + nxy * my, nxy * mx + nyy * my, nzz * mz]), shape)
    return np.asarray(-h[:, :ny, :nx])


def uniform(cells: tuple[int, int], axis: int) -> NDArray[np.float64]:
    m = np.zeros((3, cells[1], cells[0]))
    m[axis] = 1
    return m


def demagnetising_factors(
    cells: tuple[int, int], cell_size: tuple[float, float, float], open_edges: tuple[bool, bool]
) -> list[float]:
    """Return −⟨h⟩ along m of the uniformly magnetised film, for m along x, y and z."""
    return [-field_of(uniform(cells, k), cell_size, open_edges)[k].mean() for k in range(3)]


def prism_factor(a: float, b: float, c: float) -> float:
    """Return Nz of a rectangular prism of sides a × b × c: Aharoni, J. Appl. Phys. 83, 3432 (1998), eq. (1).

    π Nz = (b² − c²)/(2bc) ln((R − a)/(R + a)) + (a² − c²)/(2ac) ln((R − b)/(R + b)) + b/(2c) ln((ab + a)/(ab − a))
         + a/(2c) ln((ab + b)/(ab − b)) + c/(2a) ln((bc − b)/(bc + b)) + c/(2b) ln((ac − a)/(ac + a))
         + 2 arctan(a b / (c R)) + (a³ + b³ − 2c³)/(3abc) + (a² + b² − 2c²)/(3abc) R
         + c/(a b) (ac + bc) − (ab³ + bc³ + ac³)/(3abc)

    with the diagonals R = √(a² + b² + c²), ab = √(a² + b²), bc = √(b² + c²), ac = √(a² + c²).
    """
    r, ab, bc, ac = math.hypot(a, b, c), math.hypot(a, b), math.hypot(b, c), math.hypot(a, c)
    volume3 = 3 * a * b * c
    return (
        (b**2 - c**2) / (2 * b * c) * math.log((r - a) / (r + a))
        + (a**2 - c**2) / (2 * a * c) * math.log((r - b) / (r + b))
        + b / (2 * c) * math.log((ab + a) / (ab - a))
        + a / (2 * c) * math.log((ab + b) / (ab - b))
        + c / (2 * a) * math.log((bc - b) / (bc + b))
        + c / (2 * b) * math.log((ac - a) / (ac + a))
        + 2 * math.atan(a * b / (c * r))
        + (a**3 + b**3 - 2 * c**3) / volume3
        + (a**2 + b**2 - 2 * c**2) / volume3 * r
        + c / (a * b) * (ac + bc)
        - (ab**3 + bc**3 + ac**3) / volume3
    ) / math.pi


def bar_factor(width: float, thickness: float) -> float:
    """Return Nz of an infinite bar, through its thickness: Aharoni's formula with b → ∞.

    π Nz, with p = thickness / width, is

    (1 − p²)/(2p) ln(1 + p²) + p ln p + 2 arctan(1/p).
    """
    p = thickness / width
    return ((1 - p**2) / (2 * p) * math.log1p(p**2) + p * math.log(p) + 2 * math.atan(1 / p)) / math.pi


def test_a_cube_has_the_tabulated_tensor() -> None:
    n = newell_tensor(3, 3, CUBE)
    assert n[:, 0, 0] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0], abs=1e-14)
    assert n[XX, 0, 1] == pytest.approx(-0.135017180544495, abs=1e-14)
    assert n[ZZ, 0, 1] == pytest.approx(0.0675085902722476, abs=1e-14)
    assert n[XX, 0, 2] == pytest.approx(-0.0194214875697295, abs=1e-14)
    assert n[XY, 1, 1] == pytest.approx(-0.0455648226389146, abs=1e-14)


def test_the_trace_is_one_within_a_cell_and_zero_between_cells() -> None:
    trace = newell_tensor(20, 20, (1.0, 0.7, 0.3))[:3].sum(axis=0)
    trace[0, 0] -= 1
    assert np.abs(trace).max() < 1e-11


@pytest.mark.parametrize(("cell", "tolerance"), [(CUBE, 2e-8), ((1.0, 0.5, 1.0), 1e-7), ((1.0, 1.0, 0.25), 1e-6)])
def test_far_and_near_agree_where_they_meet(cell: tuple[float, float, float], tolerance: float) -> None:
    """Relative to the largest component; what is left is the far cells' sixth-order remainder."""
    i, j = int(NEAR / cell[0]), int(NEAR / cell[1])
    near = newell_tensor(i + 1, j + 1, cell)
    for x, y in ((i, 0), (0, j), (int(0.7 * i), int(0.7 * j))):
        far = np.zeros(4)
        _far_cell(x * cell[0], y * cell[1], *cell, far)
        assert np.abs(far - near[:, y, x]).max() < tolerance * np.abs(near[:, y, x]).max()


@pytest.mark.parametrize(("cells", "cell_size"), GEOMETRIES)
def test_a_uniform_film_has_the_field_of_an_infinite_plate(
    cells: tuple[int, int], cell_size: tuple[float, float, float]
) -> None:
    """mz = 1: hz = −Ms to 1e-6. mx = 1 or my = 1: no field. The sums come out so; nothing is set."""
    assert fourier_tensor(cells, cell_size)[:, 0, 0] == pytest.approx([0, 0, 1, 0], abs=1e-6)


@pytest.mark.parametrize("k", [(0, 1), (1, 0), (3, 2), (8, 8), (0, 8)])
def test_every_wave_has_the_field_of_a_slab(k: tuple[int, int]) -> None:
    """The slab's tensor in closed form, summed over the aliases of a wave on the cell grid: an independent method.

    Averages over a cell multiply a wave q by sinc(qx dx/2) sinc(qy dy/2), once for the source, once for the field;
    a slab of thickness t has Nzz = (1 − exp(−q t)) / (q t), and the rest of the trace lies along q.
    """
    n, (dx, dy, dz) = 16, (4e-9, 3e-9, 2e-9)
    a = np.arange(-1500, 1501)
    qx = (2 * np.pi * (k[0] / n + a) / dx)[None, :]
    qy = (2 * np.pi * (k[1] / n + a) / dy)[:, None]
    q2 = qx**2 + qy**2
    window = (np.sinc(qx * dx / 2 / np.pi) * np.sinc(qy * dy / 2 / np.pi)) ** 2
    nzz = -np.expm1(-np.sqrt(q2) * dz) / (np.sqrt(q2) * dz)
    expected = {XX: qx**2 / q2 * (1 - nzz), YY: qy**2 / q2 * (1 - nzz), ZZ: nzz}
    spectrum = fourier_tensor((n, n), (dx, dy, dz))[:, k[1], k[0]]
    for component, value in expected.items():
        assert spectrum[component] == pytest.approx(np.sum(window * value), abs=2e-4)
    assert spectrum[ZZ] == pytest.approx(np.sum(window * nzz), abs=2e-7)


@pytest.mark.parametrize("seed", range(4))
def test_films_of_any_cells_have_the_field_of_a_slab(seed: int) -> None:
    """Random cells, t/dx from 0.02 to 10: Nzz of waves of every length, as above."""
    random = np.random.default_rng(seed)
    n, cell = 16, (1.0, 2 ** random.uniform(-1, 1), float(np.geomspace(0.02, 10, 4)[seed]))
    spectrum, a = fourier_tensor((n, n), cell), np.arange(-700, 701)
    for k in ((0, 1), (2, 3), (8, 5)):
        q = [2 * np.pi * (k[i] / n + a) / cell[i] for i in range(2)]
        window = np.sinc(q[0] * cell[0] / 2 / np.pi)[None, :] ** 2 * np.sinc(q[1] * cell[1] / 2 / np.pi)[:, None] ** 2
        qt = np.hypot(q[0][None, :], q[1][:, None]) * cell[2]
        assert spectrum[ZZ, k[1], k[0]] == pytest.approx(np.sum(window * -np.expm1(-qt) / qt), abs=1e-5)


@pytest.mark.parametrize("thickness", [0.02, 0.3, 10.0])
def test_averages_to_second_order_are_as_accurate_as_the_rest(
    thickness: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against Newell's closed form and the Gauss rule carried twice as far; single precision resolves 3e-8."""
    tensor = tensor_quarter((24, 10), (1.0, 0.7, thickness))
    monkeypatch.setattr("magray.micromagnetics.demag_tensor.NEAR", 2 * NEAR)
    monkeypatch.setattr("magray.micromagnetics.demag_tensor.SMOOTH", 2 * SMOOTH)
    assert np.abs(tensor_quarter((24, 10), (1.0, 0.7, thickness)) - tensor).max() < 2e-8


def test_a_film_has_the_same_field_with_twice_its_period() -> None:
    """N summed over a period of 16 cells is that of 32 cells, folded once more."""
    cell = (4e-9, 4e-9, 2e-9)
    small, large = tensor_quarter((16, 16), cell), tensor_quarter((32, 32), cell)
    folded = large[:, :9, :9] + large[:, :9, 16:7:-1] * np.array([1, 1, 1, -1])[:, None, None]
    folded = folded[:, :9] + (
        large[:, 16:7:-1, :9] * np.array([1, 1, 1, -1])[:, None, None] + large[:, 16:7:-1, 16:7:-1]
    )
    assert np.abs(folded - small).max() < 1e-9


def test_an_open_film_is_the_sum_over_its_cells() -> None:
    """Newell's closed form between every two cells, added up one by one; 40 cells reach beyond NEAR."""
    nx, ny, cell = 40, 6, (3.0, 2.0, 1.0)
    m = np.random.default_rng(0).normal(size=(3, ny, nx))
    nxx, nyy, nzz, nxy = newell_tensor(nx, ny, cell)
    expected = np.zeros_like(m)
    for j in range(ny):
        for i in range(nx):
            dj, di = j - np.arange(ny)[:, None], i - np.arange(nx)[None, :]
            at = np.abs(dj), np.abs(di)
            xy = nxy[at] * np.sign(dj * di)
            expected[0, j, i] = -np.sum(nxx[at] * m[0] + xy * m[1])
            expected[1, j, i] = -np.sum(xy * m[0] + nyy[at] * m[1])
            expected[2, j, i] = -np.sum(nzz[at] * m[2])
    assert np.abs(field_of(m, cell, OPEN) - expected).max() < 1e-8


def test_two_cubes_act_on_each_other_as_tabulated() -> None:
    """The tabulated tensors of a cube and of its neighbour along x, and along y in the last two lines."""
    m = np.random.default_rng(0).normal(size=(3, 1, 2))
    self, side, beside = 1 / 3, -0.135017180544495, 0.0675085902722476
    for n, axis in ((side, 0), (beside, 1), (beside, 2)):
        expected = -(self * m[axis] + n * m[axis, :, ::-1])
        assert field_of(m, CUBE, OPEN)[axis] == pytest.approx(expected, abs=1e-12)
    m = np.swapaxes(m, 1, 2)
    assert field_of(m, CUBE, OPEN)[1] == pytest.approx(-(self * m[1] + side * m[1, ::-1]), abs=1e-12)


@pytest.mark.parametrize("cell", [(4.0, 4.0, 4.0), (3.0, 5.0, 1.0), (1.0, 1.0, 6.0)])
def test_a_strip_is_a_long_film_folded_up(cell: tuple[float, float, float]) -> None:
    """Periodic along y = an open film, seen from its middle, of 1,000 periods to either side; the rest are dipoles.

    Their N, −V/4π ∂i∂j (1/r), adds up to V / (4π (1000 L)² L) times (1, −2, 1, 0) for periods of length L.
    """
    nx, ny, periods = 6, 8, 1000
    lone = tensor_quarter((nx, (periods + 2) * ny), cell, OPEN)
    strip = tensor_quarter((nx, ny), cell, OPEN_X)
    rest = math.prod(cell) / (4 * math.pi * periods**2 * (ny * cell[1]) ** 3) * np.array([1, -2, 1, 0])
    for j in range(ny // 2 + 1):
        ahead = lone[:, j : (periods + 1) * ny : ny].sum(axis=1)
        behind = lone[:, ny - j : (periods + 1) * ny : ny].sum(axis=1)
        folded = ahead + ODD_XY[:, None] * behind + rest[:, None]
        assert np.abs(folded - strip[:, j])[:, :nx].max() < 2e-11


@pytest.mark.parametrize(
    ("cells", "cell"),
    [((8, 8), CUBE), ((64, 16), (4.0, 4.0, 1.0)), ((200, 8), (3.0, 5.0, 1.0)), ((16, 1024), (4.0, 4.0, 10.0))],
)
def test_a_strip_has_the_factors_of_an_endless_bar(cells: tuple[int, int], cell: tuple[float, float, float]) -> None:
    """Open across, endless along: no field of moments along it, anywhere in it; across it the bar's closed form."""
    (nx, ny), (dx, dy, dz) = cells, cell
    nz = bar_factor(nx * dx, dz)
    assert demagnetising_factors(cells, cell, OPEN_X) == pytest.approx([1 - nz, 0, nz], abs=1e-7)
    assert demagnetising_factors((ny, nx), (dy, dx, dz), OPEN_Y) == pytest.approx([0, 1 - nz, nz], abs=1e-7)
    assert np.abs(field_of(uniform(cells, 1), cell, OPEN_X)).max() < 1e-7


@pytest.mark.parametrize(
    ("cells", "cell"),
    [
        ((8, 8), (1.0, 1.0, 8.0)),
        ((32, 32), (4e-9, 4e-9, 4e-9)),
        ((512, 512), (4e-9, 4e-9, 1e-9)),
        ((125, 25), (4e-9, 5e-9, 3e-9)),
    ],
)
def test_an_open_film_has_the_factors_of_a_prism(cells: tuple[int, int], cell: tuple[float, float, float]) -> None:
    """The first is a cube, so 1/3; the last is the 500 × 125 × 3 nm film of µMAG's standard problem 4."""
    a, b, c = (n * side for n, side in zip((*cells, 1), cell, strict=True))
    expected = [prism_factor(b, c, a), prism_factor(c, a, b), prism_factor(a, b, c)]
    assert sum(expected) == pytest.approx(1, abs=1e-9)
    assert demagnetising_factors(cells, cell, OPEN) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("open_edges", [PERIODIC, OPEN_X, OPEN_Y, OPEN])
def test_the_trace_is_that_of_one_cell_whatever_the_edges(open_edges: tuple[bool, bool]) -> None:
    """Nxx + Nyy + Nzz is 1 within a cell and 0 between cells, and repetitions are other cells."""
    trace = tensor_quarter((48, 20), (3.0, 5.0, 1.0), open_edges)[:3].sum(axis=0)
    trace[0, 0] -= 1
    assert np.abs(trace).max() < 1e-10


def test_the_tensor_is_zero_between_cells_that_cannot_exist() -> None:
    """No two cells of an open film of n cells are n cells apart."""
    assert (tensor_quarter((8, 6), CUBE, OPEN_X)[:, :, 8] == 0).all()
    assert (tensor_quarter((8, 6), CUBE, OPEN_Y)[:, 6, :] == 0).all()
    assert fourier_tensor((8, 6), CUBE, OPEN_X).shape == (4, 6, 9)
    assert fourier_tensor((8, 6), CUBE, OPEN).shape == (4, 12, 9)


def test_turning_a_strip_turns_its_field() -> None:
    """A strip open along x and the same strip turned by 90°, so open along y."""
    m = np.random.default_rng(0).normal(size=(3, 12, 20))
    turned = np.swapaxes(m, 1, 2)[[1, 0, 2]]
    expected = np.swapaxes(field_of(m, (3.0, 5.0, 1.0), OPEN_X), 1, 2)[[1, 0, 2]]
    assert np.abs(field_of(turned, (5.0, 3.0, 1.0), OPEN_Y) - expected).max() < 1e-10


def test_far_edges_have_no_effect() -> None:
    """In the middle of a wide film of up and down domains, 8 cells each, it does not matter whether its edges are open.

    What edges add falls off as the domains' waves do, exp(−2π distance / wavelength), and from the corners as a power.
    """
    n, cell = 256, (4e-9, 4e-9, 1e-9)
    phase = 2 * np.pi * np.arange(n) / 16
    m = np.stack([np.zeros((n, n)), np.zeros((n, n)), np.sin(phase)[None, :] * np.sin(phase)[:, None]])
    middle = np.s_[2, n // 2 - 16 : n // 2 + 16, n // 2 - 16 : n // 2 + 16]
    expected = field_of(m, cell, PERIODIC)[middle]
    for open_edges in (OPEN_X, OPEN_Y, OPEN):
        assert np.abs(field_of(m, cell, open_edges)[middle] - expected).max() < 1e-6
