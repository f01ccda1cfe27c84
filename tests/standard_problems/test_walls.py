"""Domain walls against their closed forms.

Hubert and Schäfer, *Magnetic Domains* (1998); for DMI, Rohart and Thiaville, Phys. Rev. B 88, 184422 (2013). A small Ms
keeps stray fields out of the wall; 1 nm cells resolve it: Δ = √(A/Keff) = 5.04 nm.
"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from magray.films import Film
from magray.micromagnetics import energy_terms
from magray.units import MU0
from tests.support.specimens import BACKENDS, minimized

pytestmark = pytest.mark.parametrize("backend", BACKENDS)

NX, DX = 256, 1e-9
BLOCH, NEEL = 1, 0


def film(**changes: Any) -> Film:
    return Film(cells=(NX, 8), cell_size=(DX, DX, DX), Ms=1e5, Ku1=0.4e6, Aex=10e-12, **changes)


def two_walls(film: Film, component: int, sense: int, backend: str) -> NDArray[np.float32]:
    """Relaxed from two abrupt walls with `component` along `sense` in the first and against it in the second."""
    m = np.zeros((3, 8, NX), np.float32)
    m[2] = np.where(np.abs(np.arange(NX) - NX / 2 + 0.5) < NX / 4, -1, 1)
    m[component, :, NX // 4 - 3 : NX // 4 + 3] = 2 * sense
    m[component, :, 3 * NX // 4 - 3 : 3 * NX // 4 + 3] = -2 * sense
    return minimized(film, m / np.linalg.norm(m, axis=0), 1e-3, backend)


def wall_width(m: NDArray[np.float32]) -> float:
    """Δ of a wall mz = tanh(x/Δ): ∫ (1 − mz²) dx = 2Δ for each of the two walls."""
    return float(np.sum(1 - m[2, 0].astype(np.float64) ** 2) * DX / 4)


def wall_energy(film: Film, m: NDArray[np.float32]) -> float:
    """J/m² of wall: what the film has above one without walls, for each of its two."""
    up = np.zeros_like(m)
    up[2] = 1
    return (energy_terms(film, m)["total"] - energy_terms(film, up)["total"]) * NX * DX / 2


def test_a_bloch_wall_has_its_width_and_energy(backend: str) -> None:
    """Δ = √(A/Keff), σ = 4 √(A Keff); 1 % for cells of Δ/5 and the stray field that is left."""
    plain = film()
    m = two_walls(plain, BLOCH, 1, backend)
    assert wall_width(m) == pytest.approx(np.sqrt(plain.Aex / plain.Keff), rel=0.01)
    assert wall_energy(plain, m) == pytest.approx(4 * np.sqrt(plain.Aex * plain.Keff), rel=0.01)


@pytest.mark.parametrize(("dmi", "component"), [("bulk", BLOCH), ("interfacial", NEEL)])
@pytest.mark.parametrize("D", [0.5e-3, 1.5e-3, -1.5e-3])
def test_dmi_lowers_a_wall_of_its_sense_by_pi_D_and_leaves_its_width(
    backend: str, dmi: Any, component: int, D: float
) -> None:
    """m·(∇×m) and its interfacial kin integrate to π over a 180° wall, whatever its width."""
    twisted = film(dmi=dmi, D=D)
    m = two_walls(twisted, component, -1 if D > 0 else 1, backend)
    across = np.abs(m[component, 0]).max()
    assert across == pytest.approx(1, abs=0.02)
    assert wall_width(m) == pytest.approx(np.sqrt(twisted.Aex / twisted.Keff), rel=0.01)
    expected = 4 * np.sqrt(twisted.Aex * twisted.Keff) - np.pi * abs(D)
    assert wall_energy(twisted, m) == pytest.approx(expected, abs=0.01 * 4 * np.sqrt(twisted.Aex * twisted.Keff))


@pytest.mark.parametrize(("dmi", "wrong"), [("bulk", NEEL), ("interfacial", BLOCH)])
def test_dmi_turns_a_wall_to_its_own_kind(backend: str, dmi: Any, wrong: int) -> None:
    """A wall that begins as the other kind, with a trace of the right one, ends as the right one."""
    twisted = film(dmi=dmi, D=1.5e-3)
    m = np.zeros((3, 8, NX), np.float32)
    m[2] = np.where(np.abs(np.arange(NX) - NX / 2 + 0.5) < NX / 4, -1, 1)
    walls = [NX // 4, 3 * NX // 4]
    for wall in walls:
        m[wrong, :, wall - 3 : wall + 3] = 2.0
    m[1 - wrong] = 0.05 * np.random.default_rng(0).normal(size=(8, NX))
    m = minimized(twisted, m / np.linalg.norm(m, axis=0), 1e-3, backend)
    assert np.abs(m[wrong]).max() < 0.05
    assert np.abs(m[1 - wrong]).max() > 0.95


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 1.5])
def test_interfacial_dmi_turns_a_bloch_wall_into_a_neel_wall_step_by_step(backend: str, share: float) -> None:
    """sin φ = D / Dt until it is 1: Thiaville, Rohart, Jué, Cros and Fert, Europhys. Lett. 100, 57002 (2012).

    A Néel wall has poles on both sides, with a demagnetising factor (ln 2 / π) t / Δ for t ≪ Δ; DMI pays for them all
    from Dt = 2 ln 2 µ0 Ms² t / π² on. 5 %: t is a fifth of Δ.
    """
    Ms, t = 6e5, 1e-9
    threshold = 2 * np.log(2) * MU0 * Ms**2 * t / np.pi**2
    thin = Film((NX, 8), (DX, DX, t), Ms, Ku1=0.65e6, Aex=10e-12, D=share * threshold, dmi="interfacial")
    m = np.zeros((3, 8, NX), np.float32)
    m[2] = np.where(np.abs(np.arange(NX) - NX / 2 + 0.5) < NX / 4, -1, 1)
    for wall, sense in ((NX // 4, -1), (3 * NX // 4, 1)):
        m[BLOCH, :, wall - 3 : wall + 3] = 2.0
        m[NEEL, :, wall - 3 : wall + 3] = 0.6 * sense
    m = minimized(thin, m / np.linalg.norm(m, axis=0), 1e-5, backend)
    middle = int(np.argmin(np.abs(m[2, 0, : NX // 2])))
    x, y = m[NEEL, 0, middle], m[BLOCH, 0, middle]
    assert -x / np.hypot(x, y) == pytest.approx(min(share, 1), rel=0.05)


def at_an_edge(m: NDArray[np.floating], side: int, axis: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """m and ∂m/∂n (per cell) at the middle of an edge: of the parabola through the three cells next to it."""
    crop = np.moveaxis(m, axis, 0)[::-side, :, m.shape[-1 if axis == 1 else -2] // 2][:3].astype(np.float64)
    return np.array([15, -10, 3]) / 8 @ crop, np.array([2, -3, 1]) @ crop


@pytest.mark.parametrize("dmi", ["bulk", "interfacial"])
def test_an_open_edge_has_the_natural_boundary_condition(backend: str, dmi: Any) -> None:
    """∂m/∂n = (D/2A) n × m (bulk), (D/2A) (n × ẑ) × m (interfacial), at all four edges; nobody puts it in.

    It holds to first order in the cell, and D/2A times a cell is 0.15 and 0.08 here: 16 % and 6 % of D/2A are left for
    cells of 2 and 1 nm, and half the cell leaves less than half.
    """
    left = []
    for n in (32, 64):
        cell = 64e-9 / n
        film = Film((n, n * 3 // 4), (cell, cell, 1e-9), 5e5, 0.6e6, 13e-12, D=2e-3, dmi=dmi, open_edges="xy")
        start = np.broadcast_to(np.array([0.1, 0.05, 1])[:, None, None], (3, n * 3 // 4, n))
        m = minimized(film, start / np.linalg.norm(start, axis=0), 1e-4, backend)
        rest = []
        for axis, side in ((2, 1), (2, -1), (1, 1), (1, -1)):
            at, slope = at_an_edge(m, side, axis)
            normal = side * np.eye(3)[2 - axis]
            around = normal if dmi == "bulk" else np.cross(normal, [0, 0, 1])
            rest.append(float(np.linalg.norm(slope * 2 * film.Aex / (film.D * cell) - np.cross(around, at))))
        left.append(max(rest))
    assert left[0] < 0.16
    assert left[1] < min(0.06, left[0] / 2)
