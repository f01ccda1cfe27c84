"""Each term of the oracle against its own energy, and the CPU backend against the oracle."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magray.films import Film
from magray.films.film import MU0
from magray.micromagnetics.cpu import CpuLandscape
from magray.micromagnetics.oracle import OracleLandscape
from magray.micromagnetics.terms import TERMS, energy_terms, field_terms
from tests.specimens import co_like, directions

# few geometries, so that most examples find their demagnetising tensor made
films = st.builds(
    co_like,
    cells=st.sampled_from([(8, 8), (30, 12), (10, 48)]),
    cell_size=st.sampled_from([(4e-9, 4e-9, 4e-9), (2e-9, 5e-9, 0.8e-9)]),
    Ms=st.floats(2e5, 1.6e6),
    D=st.floats(-2e-3, 2e-3),
    dmi=st.sampled_from(["bulk", "interfacial"]),
    field=st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)),
    seed=st.integers(0, 2**63 - 1),
)


@pytest.mark.parametrize("term", TERMS)
@given(film=films)
@settings(max_examples=10, deadline=None)
def test_the_field_is_the_negative_gradient_of_the_energy(term: str, film: Film) -> None:
    """−µ0 Ms ⟨H·v⟩ is the slope of E along any v. E is at most quadratic in m: central differences are exact."""
    m, v = directions(film, 1), directions(film, 2)
    energy = TERMS[term].energy_density
    slope = (energy(film, m + v) - energy(film, m - v)) / 2
    h = TERMS[term].field(film, m)
    predicted = -MU0 * film.Ms * np.mean(np.sum(h * v, axis=0))
    assert slope == pytest.approx(predicted, rel=1e-9, abs=1e-9 * MU0 * film.Ms * np.abs(h).max())


def helix(film: Film, first: int, second: int) -> np.ndarray:
    """m turning once along x, from axis `first` towards `second`."""
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
    """The film with all terms but `term` and demag switched off, as far as a film can be."""
    off: dict[str, Any] = {"Ku1": 0.0, "Aex": 1e-30, "D": 0.0, "field": (0.0, 0.0, 0.0)}
    keep = {"exchange": "Aex", "anisotropy": "Ku1", "dmi": "D", "zeeman": "field"}.get(term, "")
    return replace(film, **{name: value for name, value in off.items() if name != keep})


@pytest.mark.parametrize("term", TERMS)
@given(film=films)
@settings(max_examples=10, deadline=None)
def test_the_cpu_backend_has_the_oracles_fields_and_energies(term: str, film: Film) -> None:
    """Single against double precision, one term and demag at a time: 2e-6 of the largest field, 1e-6 of the energy."""
    film, m = alone(film, term), directions(film)
    fast, exact = CpuLandscape(film).evaluate(m.astype(np.float32)), OracleLandscape(film).evaluate(m)
    largest = max(np.abs(h).max() for h in field_terms(film, m).values()) / film.Ms
    assert np.abs(fast.force - exact.force).max() <= 2e-6 * largest
    assert fast.energy == pytest.approx(exact.energy, abs=1e-6 * largest)
    assert fast.torque == pytest.approx(exact.torque, abs=2e-6 * largest)
