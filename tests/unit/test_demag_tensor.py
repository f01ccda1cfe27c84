"""The demagnetising tensor against tabulated numbers, uniform limits and an independent sum in Fourier space."""

import numpy as np
import pytest

from magray.micromagnetics.demag_tensor import (
    NEAR,
    XX,
    XY,
    YY,
    ZZ,
    _far_cell,
    fourier_tensor,
    newell_tensor,
    periodic_quarter,
)

CUBE = (1.0, 1.0, 1.0)
GEOMETRIES = [
    ((8, 8), (4e-9, 4e-9, 4e-9)),
    ((256, 256), (4e-9, 4e-9, 4e-9)),
    ((512, 512), (4e-9, 4e-9, 4e-9)),
    ((64, 8), (4e-9, 4e-9, 4e-9)),
    ((48, 20), (3e-9, 5e-9, 1e-9)),
]


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
    """The slab's tensor in closed form, summed over the aliases of a wave on the cell grid: another way altogether.

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


def test_a_film_is_the_same_whatever_period_it_is_seen_with() -> None:
    """N summed over a period of 16 cells is that of 32 cells, folded once more."""
    cell = (4e-9, 4e-9, 2e-9)
    small, large = periodic_quarter((16, 16), cell), periodic_quarter((32, 32), cell)
    folded = large[:, :9, :9] + large[:, :9, 16:7:-1] * np.array([1, 1, 1, -1])[:, None, None]
    folded = folded[:, :9] + (
        large[:, 16:7:-1, :9] * np.array([1, 1, 1, -1])[:, None, None] + large[:, 16:7:-1, 16:7:-1]
    )
    assert np.abs(folded - small).max() < 1e-9
