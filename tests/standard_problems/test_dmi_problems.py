"""The standard problem for Dzyaloshinskii-Moriya interaction: Cortés-Ortuño et al., New J. Phys. 20, 113015 (2018).

Numbers from its supplement, fangohr/paper-supplement-standard-problem-dmi, where an ordinary differential equation was
solved (notebooks/data/results_1d and results_2d). Its interfacial energy has the other sign of D (its mumax3 scripts
have Dind = −3 mJ/m²): our in-plane components are minus those.
"""

from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from magray.films import Film, Minimize, Protocol, Uniform
from magray.films.film import Dmi
from magray.micromagnetics import relax
from magray.micromagnetics.mask import mask
from tests.support.specimens import BACKENDS, minimized

Vectors = NDArray[np.float64]

MATERIAL: dict[str, Any] = {"Ms": 0.86e6, "Ku1": 0.4e6, "Aex": 13e-12, "D": 3e-3, "demag": False}
LENGTH = 100e-9
ALONG = {"interfacial": 0, "bulk": 1}  # the component that a wire along x cants to
DMIS: tuple[Dmi, ...] = ("interfacial", "bulk")


@cache
def wire(backend: str, dmi: Dmi, cells: int = 100) -> Vectors:
    """A wire along x, 100 nm long: a film that ends along x and repeats itself along y: (3, 8, cells)."""
    protocol = Protocol(Uniform((0.1, 0.1, 1)), (Minimize(torque=1e-4 if cells > 100 else 1e-5),))
    cell_size = (LENGTH / cells, 1e-9, 1e-9)
    (done,) = relax([Film((cells, 8), cell_size, dmi=dmi, open_edges="x", protocol=protocol, **MATERIAL)], backend)
    assert done.m is not None
    assert done.converged, done.reason
    return done.m.astype(np.float64)


def at_edges(m: Vectors) -> tuple[Vectors, Vectors]:
    """m at the two ends of the wire: the parabola through the three nearest middles of cells, drawn out to the edge."""
    weights = np.array([15, -10, 3]) / 8
    return m[:, 0, :3] @ weights, m[:, 0, :-4:-1] @ weights


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dmi", DMIS)
def test_the_ends_of_a_wire_cant_as_published(backend: str, dmi: Dmi) -> None:
    """|mx| = 0.657794 and mz = 0.753198 at the edges; sin θ = D / 2√(A K) = 0.657793 for a wire without an end.

    Cells of 1 nm are a sixth of the canted part: 7e-4 and 2.4e-3 are left of the discretisation.
    """
    along = ALONG[dmi]
    for m, side in zip(at_edges(wire(backend, dmi)), (1, -1), strict=True):
        assert m[along] == pytest.approx(0.657794 * side, abs=1e-3)
        assert m[2] == pytest.approx(0.753198, abs=3e-3)
        assert m[1 - along] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_canting_converges_as_cells_shrink(backend: str) -> None:
    """2, 1, 0.5 nm: central differences are of second order; 4.6 and 3.1 times nearer where 4 is the limit."""
    errors = [abs(at_edges(wire(backend, "interfacial", cells))[0][0] - 0.657794) for cells in (50, 100, 200)]
    assert errors[0] > 2.5 * errors[1]
    assert errors[1] > 2.5 * errors[2]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dmi", DMIS)
def test_the_canting_fades_into_the_wire_as_a_wall_does(backend: str, dmi: Dmi) -> None:
    """tan(θ/2) = tan(θ_edge/2) exp(−x/Δ), Δ = √(A/K), with the published θ_edge: each cell of half the wire to 2e-3.

    The other end adds exp(−50 nm / Δ) = 2e-4.
    """
    angle = np.arcsin(wire(backend, dmi)[ALONG[dmi], 0, :50])
    x = np.arange(0.5, 50) * 1e-9
    edge, width = np.arcsin(0.657794), np.sqrt(MATERIAL["Aex"] / MATERIAL["Ku1"])
    assert angle == pytest.approx(2 * np.arctan(np.tan(edge / 2) * np.exp(-x / width)), abs=2e-3)


def disk(dmi: Dmi) -> Film:
    """100 nm across, 2 nm thick."""
    return Film((100, 100), (1e-9, 1e-9, 2e-9), dmi=dmi, open_edges="ellipse", **MATERIAL)


def rough_skyrmion(film: Film) -> NDArray[np.float32]:
    """Return a skyrmion (3, ny, nx) of 20 nm, up in the middle of the disk, with the sense that its DMI favours."""
    middles = (np.arange(film.cells[0]) + 0.5) * film.cell_size[0] - LENGTH / 2
    x, y = np.meshgrid(middles, middles)
    polar, azimuth = np.pi / 2 * (1 + np.tanh((np.hypot(x, y) - 20e-9) / 5e-9)), np.arctan2(y, x)
    radial = np.stack([-np.sin(polar) * np.cos(azimuth), -np.sin(polar) * np.sin(azimuth), np.cos(polar)])
    return np.where(mask(film), radial if film.dmi == "interfacial" else turned(radial), 0).astype(np.float32)


@cache
def skyrmion(backend: str, dmi: Dmi) -> Vectors:
    """A disk, relaxed from a rough skyrmion: (3, ny, nx)."""
    film = disk(dmi)
    return minimized(film, rough_skyrmion(film), 1e-4, backend).astype(np.float64)


def radius(m: Vectors) -> float:
    """Return the distance, m, from the middle of the disk to mz = 0 on its right, interpolated between cells."""
    half = m.shape[2] // 2
    mz = m[2, half - 1 : half + 1, half:].mean(axis=0)
    out = int(np.argmax(mz < 0))
    zero = out - 0.5 + float(mz[out - 1] / (mz[out - 1] - mz[out]))
    return float(zero * LENGTH / m.shape[2])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dmi", DMIS)
def test_the_skyrmion_of_a_disk_has_its_published_radius(backend: str, dmi: Dmi) -> None:
    """22.03 nm; cells of 1 nm leave 0.05 nm, and the disk's edge is drawn in squares."""
    assert radius(skyrmion(backend, dmi)) == pytest.approx(22.03e-9, abs=0.1e-9)


def turned(m: Vectors) -> Vectors:
    """Every moment turned by 90° about z."""
    return np.stack([-m[1], m[0], m[2]])


def test_bulk_and_interfacial_dmi_differ_by_a_quarter_turn_of_every_moment() -> None:
    """(mx, my) → (−my, mx) makes mz ∇·m − (m·∇)mz of m·(∇×m), cell by cell; what is left is the torque it stops at."""
    assert np.abs(turned(wire("cpu", "interfacial")) - wire("cpu", "bulk")).max() < 1e-4
    assert np.abs(turned(skyrmion("cpu", "interfacial")) - skyrmion("cpu", "bulk")).max() < 3e-3
