"""Domain walls against their closed forms.

Hubert and Schäfer, *Magnetic Domains* (1998); for DMI, Rohart and Thiaville, Phys. Rev. B 88, 184422 (2013). A small Ms
keeps stray fields out of the wall; 1 nm cells resolve it: Δ = √(A/Keff) = 5.04 nm.
"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from magray.films import Film, Minimize
from magray.micromagnetics import energy_terms
from magray.micromagnetics.cpu import CpuLandscape
from magray.micromagnetics.minimizer import minimize

NX, DX = 256, 1e-9
BLOCH, NEEL = 1, 0


def film(**changes: Any) -> Film:
    return Film(cells=(NX, 8), cell_size=(DX, DX, DX), Ms=1e5, Ku1=0.4e6, Aex=10e-12, **changes)


def two_walls(film: Film, component: int, sense: int) -> NDArray[np.float32]:
    """Relaxed from two abrupt walls with `component` along `sense` in the first and against it in the second."""
    m = np.zeros((3, 8, NX), np.float32)
    m[2] = np.where(np.abs(np.arange(NX) - NX / 2 + 0.5) < NX / 4, -1, 1)
    m[component, :, NX // 4 - 3 : NX // 4 + 3] = 2 * sense
    m[component, :, 3 * NX // 4 - 3 : 3 * NX // 4 + 3] = -2 * sense
    point, _ = minimize(CpuLandscape(film), m / np.linalg.norm(m, axis=0), Minimize(torque=1e-3))
    assert point.torque <= 1e-3
    return np.asarray(point.m)


def wall_width(m: NDArray[np.float32]) -> float:
    """Δ of a wall mz = tanh(x/Δ): ∫ (1 − mz²) dx = 2Δ for each of the two walls."""
    return float(np.sum(1 - m[2, 0].astype(np.float64) ** 2) * DX / 4)


def wall_energy(film: Film, m: NDArray[np.float32]) -> float:
    """J/m² of wall: what the film has above one without walls, for each of its two."""
    up = np.zeros_like(m)
    up[2] = 1
    return (energy_terms(film, m)["total"] - energy_terms(film, up)["total"]) * NX * DX / 2


def test_a_bloch_wall_has_its_width_and_energy() -> None:
    """Δ = √(A/Keff), σ = 4 √(A Keff); 1 % for cells of Δ/5 and the stray field that is left."""
    plain = film()
    m = two_walls(plain, BLOCH, 1)
    assert wall_width(m) == pytest.approx(np.sqrt(plain.Aex / plain.Keff), rel=0.01)
    assert wall_energy(plain, m) == pytest.approx(4 * np.sqrt(plain.Aex * plain.Keff), rel=0.01)


@pytest.mark.parametrize(("dmi", "component"), [("bulk", BLOCH), ("interfacial", NEEL)])
@pytest.mark.parametrize("D", [0.5e-3, 1.5e-3, -1.5e-3])
def test_dmi_lowers_a_wall_of_its_sense_by_pi_D_and_leaves_its_width(dmi: Any, component: int, D: float) -> None:
    """m·(∇×m) and its interfacial kin integrate to π over a 180° wall, whatever its width."""
    twisted = film(dmi=dmi, D=D)
    m = two_walls(twisted, component, sense=-1 if D > 0 else 1)
    across = np.abs(m[component, 0]).max()
    assert across == pytest.approx(1, abs=0.02)
    assert wall_width(m) == pytest.approx(np.sqrt(twisted.Aex / twisted.Keff), rel=0.01)
    expected = 4 * np.sqrt(twisted.Aex * twisted.Keff) - np.pi * abs(D)
    assert wall_energy(twisted, m) == pytest.approx(expected, abs=0.01 * 4 * np.sqrt(twisted.Aex * twisted.Keff))


@pytest.mark.parametrize(("dmi", "wrong"), [("bulk", NEEL), ("interfacial", BLOCH)])
def test_dmi_turns_a_wall_to_its_own_kind(dmi: Any, wrong: int) -> None:
    """A wall that begins as the other kind, with a trace of the right one, ends as the right one."""
    twisted = film(dmi=dmi, D=1.5e-3)
    m = np.zeros((3, 8, NX), np.float32)
    m[2] = np.where(np.abs(np.arange(NX) - NX / 2 + 0.5) < NX / 4, -1, 1)
    walls = [NX // 4, 3 * NX // 4]
    for wall in walls:
        m[wrong, :, wall - 3 : wall + 3] = 2.0
    m[1 - wrong] = 0.05 * np.random.default_rng(0).normal(size=(8, NX))
    point, _ = minimize(CpuLandscape(twisted), m / np.linalg.norm(m, axis=0), Minimize(torque=1e-3))
    assert point.torque <= 1e-3
    assert np.abs(point.m[wrong]).max() < 0.05
    assert np.abs(point.m[1 - wrong]).max() > 0.95
