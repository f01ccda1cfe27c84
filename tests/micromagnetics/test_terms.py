"""Each term against its own energy, and the CPU backend against the reference."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magray.films import Film, Quench
from magray.micromagnetics.backend import InnerStep
from magray.micromagnetics.cpu import CpuBackend
from magray.micromagnetics.llg import Steps
from magray.micromagnetics.mask import SIDES, mask, neighbours
from magray.micromagnetics.reference import Reference
from magray.micromagnetics.terms import TERMS, energy_terms, field_terms
from magray.micromagnetics.terms.quadratic import mean
from magray.units import MU0
from tests.support.specimens import co_like, directions

CUBE, OBLONG = (4e-9, 4e-9, 4e-9), (2e-9, 5e-9, 0.8e-9)
# few geometries, so that most examples find their demagnetising tensor made
GEOMETRIES = [((8, 8), CUBE), ((30, 12), OBLONG), ((10, 48), CUBE)]


def film_of(geometry: tuple[tuple[int, int], tuple[float, float, float]], **changes: Any) -> Film:
    """Return a Co-like film of these cells, with `changes`."""
    return co_like(cells=geometry[0], cell_size=geometry[1], **changes)


films = st.builds(
    film_of,
    geometry=st.sampled_from(GEOMETRIES),
    Ms=st.floats(2e5, 1.6e6),
    D=st.floats(-2e-3, 2e-3),
    dmi=st.sampled_from(["bulk", "interfacial"]),
    open_edges=st.sampled_from(["none", "x", "y", "xy", "ellipse"]),
    demag=st.booleans(),
    grain_size=st.sampled_from([0.0, 15e-9]),
    field=st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)),
    seed=st.integers(0, 2**63 - 1),
)


def moments(film: Film, seed: int = 0) -> np.ndarray:
    """Return random unit vectors on the film's cells, and 0 outside of an ellipse."""
    return directions(film, seed) * mask(film)


@pytest.mark.parametrize("term", TERMS)
@given(film=films)
@settings(max_examples=15, deadline=None)
def test_the_field_is_the_negative_gradient_of_the_energy(term: str, film: Film) -> None:
    """−µ0 Ms ⟨H·v⟩ is the slope of E along any v. E is at most quadratic in m: central differences are exact."""
    m, v = moments(film, 1), moments(film, 2)
    energy = TERMS[term].energy_density
    slope = (energy(film, m + v) - energy(film, m - v)) / 2
    h = TERMS[term].field(film, m)
    predicted = -MU0 * film.Ms * mean(film, np.sum(h * v, axis=0))
    assert slope == pytest.approx(predicted, rel=1e-9, abs=1e-9 * MU0 * film.Ms * np.abs(h).max())


def helix(film: Film, first: int, second: int) -> np.ndarray:
    """Return m turning once along x, from axis `first` towards `second`."""
    nx, ny = film.cells
    angle = 2 * np.pi * np.arange(nx) / nx * np.ones((ny, 1))
    m = np.zeros((3, ny, nx))
    m[first], m[second] = np.cos(angle), np.sin(angle)
    return m


def test_one_turn_costs_exchange_A_q_squared_and_dmi_D_q() -> None:
    """∫ of the definitions over a spiral of 256 cells a turn: central differences are exact to (q dx)²/6 = 1e-4."""
    film = co_like(cells=(256, 8), sigma=0.0)
    q = 2 * np.pi / (256 * 4e-9)
    bloch, neel = helix(film, 2, 1), helix(film, 2, 0)
    assert energy_terms(film, bloch)["exchange"] == pytest.approx(film.Aex * q**2, rel=1e-3)
    assert energy_terms(film, bloch)["dmi"] == pytest.approx(film.D * q, rel=1e-3)
    interfacial = replace(film, dmi="interfacial")
    assert energy_terms(interfacial, neel)["dmi"] == pytest.approx(film.D * q, rel=1e-3)
    assert energy_terms(interfacial, bloch)["dmi"] == pytest.approx(0, abs=1e-6 * film.D * q)


def test_a_film_along_z_has_the_energies_of_the_textbook() -> None:
    """Anisotropy −Ku1, demag ½ µ0 Ms², Zeeman −µ0 Ms Hz, nothing else."""
    film = co_like(sigma=0.0, field=(0.0, 0.0, 1e5))
    up = np.zeros((3, 32, 32))
    up[2] = 1
    energy = energy_terms(film, up)
    assert energy["anisotropy"] == pytest.approx(-1.6e6)
    assert energy["demag"] == pytest.approx(0.5 * MU0 * 1.5e6**2, rel=1e-6)
    assert energy["zeeman"] == pytest.approx(-MU0 * 1.5e6 * 1e5)
    assert energy["exchange"] == pytest.approx(0, abs=1e-6)
    assert energy["dmi"] == pytest.approx(0, abs=1e-6)


def alone(film: Film, term: str) -> Film:
    """Return the film with all terms but `term` and demag switched off, as far as a film can be."""
    off: dict[str, Any] = {"Ku1": 0.0, "Aex": 1e-30, "D": 0.0, "field": (0.0, 0.0, 0.0)}
    keep = {"exchange": "Aex", "anisotropy": "Ku1", "dmi": "D", "zeeman": "field"}.get(term, "")
    return replace(film, **{name: value for name, value in off.items() if name != keep})


@pytest.mark.parametrize("term", TERMS)
@given(film=films)
@settings(max_examples=15, deadline=None)
def test_the_cpu_backend_has_the_references_fields_and_energies(term: str, film: Film) -> None:
    """Single against double precision, one term and demag at a time: 2e-6 of the largest field, 1e-6 of the energy."""
    film = alone(film, term)
    m = moments(film)
    fast, exact = CpuBackend(film).evaluate(m.astype(np.float32)), Reference(film).evaluate(m)
    largest = largest_field(film, m)
    assert np.abs(fast.force - exact.force).max() <= 2e-6 * largest
    assert fast.energy == pytest.approx(exact.energy, abs=1e-6 * largest)
    assert fast.torque == pytest.approx(exact.torque, abs=2e-6 * largest)
    assert (fast.force[:, ~mask(film)] == 0).all()


def largest_field(film: Film, m: np.ndarray) -> float:
    """Return the largest field of all terms, Ms; above 0."""
    return max(1e-30, *(float(np.abs(h).max()) for h in field_terms(film, m).values())) / film.Ms


@given(film=films, alpha=st.floats(0.01, 2.0), kelvin=st.sampled_from([0.0, 300.0]), number=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_the_cpu_backend_takes_the_references_inner_step(film: Film, alpha: float, kelvin: float, number: int) -> None:
    """The step has the length that a quench chooses, with all terms and the same stochastic field; they agree to 1e-5.

    A cell rotates by up to 2.5 rad a stage by exchange, known to 2e-6 of the largest field, and by less by the rest.
    """
    steps = Steps.of(film, Quench(alpha, 1e-9, kelvin))
    short = InnerStep(alpha, steps.rotation, steps.thermal_std, (number, 1))
    m = moments(film).astype(np.float32)
    fast, exact = CpuBackend(film), Reference(film)
    after = fast.advance(m, fast.demag(m), short)
    expected = exact.advance(m.astype(np.float64), exact.demag(m.astype(np.float64)), short)
    assert np.abs(after - expected).max() <= 1e-5
    assert np.abs(np.linalg.norm(after, axis=0) - mask(film)).max() <= 1e-6


@pytest.mark.parametrize("term", TERMS)
def test_a_film_without_edges_is_the_same_wherever_it_is_cut(term: str) -> None:
    """Fields move with m; across open edges only those of a cell alone do."""
    shift = (3, 5)
    for edges, same in (("none", True), ("xy", term in ("anisotropy", "zeeman"))):
        film = co_like((16, 24), sigma=0.0, field=(1e5, 2e5, 3e5), open_edges=edges)
        m = moments(film)
        h = TERMS[term].field(film, m)
        moved = TERMS[term].field(film, np.roll(m, shift, axis=(1, 2)))
        assert (np.abs(moved - np.roll(h, shift, axis=(1, 2))).max() < 1e-6 * np.abs(h).max()) == same


@pytest.mark.parametrize("dmi", ["bulk", "interfacial"])
@pytest.mark.parametrize("backend", [Reference, CpuBackend])
def test_an_open_film_is_the_sum_over_its_pairs_of_neighbours(backend: Any, dmi: Any) -> None:
    """Pair by pair: a neighbour n away has 2 Aex / d² (m' − m) − D / d · n × m' (bulk; interfacial: n × ẑ).

    Where there is none, nothing is added; that is the natural boundary condition.
    """
    film = co_like((16, 16), dmi=dmi, open_edges="xy", demag=False, sigma=0.0)
    m = moments(film)
    dx, dy, _ = film.cell_size
    h = np.zeros_like(m)
    h[2] += 2 * film.Ku1 / (MU0 * film.Ms) * m[2]
    for y, x in np.ndindex(16, 16):
        for j, i in ((y, x - 1), (y, x + 1), (y - 1, x), (y + 1, x)):
            if 0 <= i < 16 and 0 <= j < 16:
                n = np.array([i - x, j - y, 0])
                d = abs(n[0]) * dx + abs(n[1]) * dy
                around = n if dmi == "bulk" else np.cross(n, [0, 0, 1])
                pair = 2 * film.Aex / d**2 * (m[:, j, i] - m[:, y, x]) - film.D / d * np.cross(around, m[:, j, i])
                h[:, y, x] += pair / (MU0 * film.Ms)
    h /= film.Ms
    force = h - np.sum(m * h, axis=0) * m
    seen = backend(film).evaluate(m.astype(np.float32)).force
    assert np.abs(seen - force).max() < 2e-6 * np.abs(h).max()


@given(film=films)
@settings(max_examples=15, deadline=None)
def test_neighbours_are_mutual_and_inside(film: Film) -> None:
    """If b is on the right of a, a is on the left of b; a cell outside of the film has no neighbours."""
    cells, (left, right, below, above) = mask(film), neighbours(film)
    assert ((right & cells) == np.roll(left & cells, -1, axis=1) & cells).all()
    assert ((above & cells) == np.roll(below & cells, -1, axis=0) & cells).all()
    for has, (axis, step) in zip((left, right, below, above), SIDES, strict=True):
        assert not (has & ~np.roll(cells, -step, axis=axis)).any()
