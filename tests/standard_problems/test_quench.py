"""The quench against the Landau-Lifshitz-Gilbert equation: closed forms, another integrator, thermal equilibrium."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import magray.micromagnetics.llg as scheme
from magray.films import Film, Minimize, Protocol, Quench, Uniform
from magray.micromagnetics import RelaxedFilm, relax
from magray.micromagnetics.initial_state import initial_state
from magray.micromagnetics.llg import quench
from magray.micromagnetics.reference import Reference
from magray.units import BOLTZMANN, GAMMA0, MU0
from tests.support.dormand_prince import integrate
from tests.support.specimens import BACKENDS, co_like, followed, walls_per_um

Vectors = NDArray[np.float64]

LOW_MS: dict[str, Any] = {"Ms": 4.5e5, "Ku1": 0.4e6, "Aex": 10e-12, "D": 0.0, "dmi": "none"}
CUBE = (4e-9, 4e-9, 4e-9)


def ended(film: Film, backend: str) -> RelaxedFilm:
    """The film at the end of its protocol."""
    (done,) = relax([film], backend)
    assert done.converged, done.reason
    return done


def quenched(film: Film, backend: str) -> Vectors:
    """m at the end of the film's protocol, (3, ny, nx)."""
    m = ended(film, backend).m
    assert m is not None
    return m.astype(np.float64)


# --- closed forms -----------------------------------------------------------------------------------------------------


def spiral(alpha: float, Hz: float, time: float) -> Vectors:
    """Return a moment that began at (1, 0, 0.5) in a field along z: it precesses by ω t and falls by α ω t.

    ω = γ0 H / (1 + α²); φ = ω t, tan(θ/2) = tan(θ0/2) exp(−α ω t).
    """
    angle = GAMMA0 * Hz * time / (1 + alpha**2)
    polar = 2 * np.arctan(np.tan(np.arctan2(1, 0.5) / 2) * np.exp(-alpha * angle))
    return np.array([np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle), np.cos(polar)])


@pytest.mark.parametrize("backend", ["numpy", *BACKENDS])
@pytest.mark.parametrize("alpha", [0.02, 0.1, 1.0])
def test_one_moment_in_a_field_precesses_and_falls_as_it_must(backend: str, alpha: float) -> None:
    """100 ps in 0.5 T, more than a turn, in steps of up to 0.07 rad; 3e-6 for them and for single precision.

    The scheme is wrong by (ω dt)⁴ / 120 of ω t, which is 2e-6.
    """
    Hz, time = 4e5, 100e-12
    protocol = Protocol(Uniform((1, 0, 0.5), noise=0), (Quench(alpha, time),))
    film = Film((8, 8), CUBE, 8e5, 0.0, 13e-12, field=(0, 0, Hz), demag=False, protocol=protocol)
    m = quenched(film, backend)
    assert np.abs(m - spiral(alpha, Hz, time)[:, None, None]).max() < 3e-6


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_field_belongs_to_its_stage(backend: str) -> None:
    """30 ps along z and 30 ps against it: the moment turns back, and what it fell it rises: exactly where it began."""
    fields = ((0.0, 0.0, 4e5), (0.0, 0.0, -4e5))
    stages = tuple(Quench(0.1, 30e-12, field=field) for field in fields)
    film = Film((8, 8), CUBE, 8e5, 0.0, 13e-12, demag=False, protocol=Protocol(Uniform((1, 0, 0.5), noise=0), stages))
    start = np.array([1, 0, 0.5]) / np.hypot(1, 0.5)
    once = replace(film, protocol=Protocol(film.protocol.initial, stages[:1]))
    assert np.abs(quenched(once, backend) - start[:, None, None]).max() > 1
    assert np.abs(quenched(film, backend) - start[:, None, None]).max() < 3e-6


# --- an adaptive integrator -------------------------------------------------------------------------------------------


@cache
def exact(film: Film) -> Vectors:
    """m after the film's only stage, by the reference integrator."""
    (stage,) = film.protocol.stages
    assert isinstance(stage, Quench)
    return followed(film, initial_state(film), stage)


def damped(duration: float, cells: int = 64, alpha: float = 0.5, **changes: Any) -> Film:
    """A film that is quenched from a random start."""
    return co_like((cells, cells), protocol=Protocol(stages=(Quench(alpha, duration),)), **changes)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("changes", "typical"), [(LOW_MS, 2e-3), ({}, 1e-2), ({"dmi": "interfacial", "open_edges": "xy"}, 1e-2)]
)
def test_a_quench_from_a_random_start_ends_where_the_equation_does(
    backend: str, changes: dict[str, Any], typical: float
) -> None:
    """50 ps, 110 demagnetising fields against the 1,100 of the adaptive integrator: the median cell, over three films.

    A random start makes small differences large where a domain is about to vanish or not: a film may have such a
    place, and 5 % of all cells may differ by more than 0.1. Ms = 1.5 MA/m has rates three times those of 0.45 MA/m.
    """
    films = [damped(50e-12, seed=seed, **changes) for seed in (1, 2, 7)]
    difference = np.linalg.norm([quenched(film, backend) - exact(film) for film in films], axis=1)
    assert np.median(difference) < typical
    assert np.mean(difference > 0.1) < 0.05


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("changes", [LOW_MS, {}])
def test_domains_coarsen_as_the_equation_says(backend: str, changes: dict[str, Any]) -> None:
    """Walls per µm after 100 ps, over four films: 2 %, where ten times the time makes a third of the walls."""
    films = [damped(100e-12, seed=seed, **changes) for seed in range(4)]
    ours = np.mean([walls_per_um(film, quenched(film, backend)) for film in films])
    assert ours == pytest.approx(np.mean([walls_per_um(film, exact(film)) for film in films]), rel=0.02)


@pytest.mark.parametrize("changes", [LOW_MS, {}])
def test_half_the_step_makes_a_quarter_of_the_error(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Second order in the long step: 3.7 times each, in double precision against a reference of 1e-7."""
    film, stage = damped(20e-12, cells=16, **changes), Quench(0.5, 20e-12)
    backend: Any = Reference(film)
    start = initial_state(film).astype(np.float64)
    reference, _ = integrate(lambda m: backend.evaluate(m).force, start, film, stage, tolerance=1e-7)
    limits = {name: getattr(scheme, name) for name in ("STIFFEST", "LOCAL", "COUPLED", "DAMPED")}
    counts = {name: getattr(scheme, name) for name in ("RAMP", "SINGLE")}
    errors = []
    for finer in (1, 2, 4):
        for name, value in limits.items():
            monkeypatch.setattr(scheme, name, value / finer)
        for name, value in counts.items():
            monkeypatch.setattr(scheme, name, value * finer)
        m, _ = quench(backend, start, film, stage)
        errors.append(np.sqrt(np.mean((m - reference) ** 2)))
    assert errors[0] > 3 * errors[1]
    assert errors[1] > 3 * errors[2]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("alpha", [0.5, 0.05])
def test_the_energy_never_rises_while_a_film_is_damped(backend: str, alpha: float) -> None:
    """At 0 K in a steady field dE/dt = −α µ0 γ0 Ms ⟨|m × H|²⟩ / (1 + α²), never above 0; seen at ten times."""
    times = [1e-12 * 2**i for i in range(10)]
    energies = [ended(damped(time, alpha=alpha), backend).energy["total"] for time in times]
    assert energies == sorted(energies, reverse=True)


# --- thermal equilibrium ----------------------------------------------------------------------------------------------

KELVIN = 300.0
VOLUME = 64e-27  # of a cell, m³
SPINS = 128 * 128


def spins(backend: str, **changes: Any) -> Vectors:
    """Moments that do not feel one another, one a cell, after 0.5 ns at 300 K, from anywhere: (3, 128, 128)."""
    constants: dict[str, Any] = {"Ms": 1e6, "Ku1": 0.0, "Aex": 1e-30, "demag": False, "seed": 1} | changes
    protocol = Protocol(stages=(Quench(alpha=0.5, duration=0.5e-9, temperature=KELVIN),))
    return quenched(Film((128, 128), CUBE, protocol=protocol, **constants), backend)


def within(values: Vectors, expected: float, errors: float = 3.5) -> bool:
    """Return whether the mean of independent values is within `errors` of its standard errors of `expected`."""
    return bool(abs(values.mean() - expected) < errors * values.std() / np.sqrt(values.size))


@pytest.mark.parametrize("backend", BACKENDS)
def test_spins_with_an_easy_axis_are_distributed_as_boltzmann_says(backend: str) -> None:
    """p(mz) ∝ exp(x mz²), x = K V / kT = 1.5, from a uniform start.

    Kolmogorov and Smirnov: the largest distance between the distributions is below 1.63 / √n for 99 of 100 seeds; this
    seed is fixed. ⟨mz²⟩ and the mean of each component within 3.5 standard errors, 0.009 for the former.
    """
    x = 1.5
    m = spins(backend, Ku1=x * BOLTZMANN * KELVIN / VOLUME)
    z = np.linspace(-1, 1, 20_001)
    weight = np.exp(x * z**2)
    cumulated = np.cumsum(weight) / weight.sum()
    found = np.interp(np.sort(m[2].ravel()), z, cumulated)
    steps = np.arange(SPINS) / SPINS
    assert max(np.max(found - steps), np.max(steps + 1 / SPINS - found)) < 1.63 / np.sqrt(SPINS)
    assert within(m[2] ** 2, float((weight * z**2).sum() / weight.sum()))
    assert all(within(component, 0) for component in m)


@pytest.mark.parametrize("backend", BACKENDS)
def test_spins_in_a_field_follow_langevin(backend: str) -> None:
    """⟨mz⟩ = coth x − 1/x with x = µ0 Ms H V / kT = 2, ⟨mz²⟩ = 1 − 2 ⟨mz⟩ / x; 3.5 standard errors, 0.011 of ⟨mz⟩.

    Finite steps shift ⟨mz⟩ by −0.4 % here (measured on 512 × 512 cells), which is half a standard error.
    """
    x = 2.0
    m = spins(backend, field=(0.0, 0.0, x * BOLTZMANN * KELVIN / (MU0 * 1e6 * VOLUME)))
    langevin = 1 / np.tanh(x) - 1 / x
    assert within(m[2], langevin)
    assert within(m[2] ** 2, 1 - 2 * langevin / x)
    assert within(m[0], 0)
    assert within(m[1], 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_wave_of_a_stiff_film_holds_half_kT(backend: str) -> None:
    """Small waves about z: ½ kT for each of two components, so ⟨|m_k|²⟩ = kT / (2 N V (Ku1 + A k²)).

    Eight films of 1,024 waves in three bands of k², from long waves to those of four cells: 7 % is three standard
    errors for the fewest, and 1 to 3 % is what the stochastic field loses by being held still for a whole step.
    """
    kelvin, n = 20.0, 32
    protocol = Protocol(Uniform((0, 0, 1), noise=0), (Quench(0.5, 0.1e-9, temperature=kelvin),))
    film = Film((n, n), CUBE, 8e5, 8e5, 10e-12, demag=False, protocol=protocol)
    wave = 2 - 2 * np.cos(2 * np.pi * np.arange(n) / n)
    squared = wave[None, :] + wave[:, None]  # k² dx² of the five-point Laplacian
    stiffness = film.Ku1 + film.Aex * squared / CUBE[0] ** 2
    power = np.zeros((n, n))
    for seed in range(8):
        m = quenched(replace(film, seed=seed), backend)
        power += np.mean(np.abs(np.fft.fft2(m[:2]) / n**2) ** 2, axis=0) / 8
    split_backbone = power * 2 * n**2 * VOLUME * stiffness / (BOLTZMANN * kelvin)
    for low, high in ((0, 1), (1, 2), (2, 4)):
        assert split_backbone[(squared >= low) & (squared < high)].mean() == pytest.approx(0.98, abs=0.07)


def hot(seed: int = 7, **changes: Any) -> Film:
    """A Co-like film that is quenched at 300 K, from a random start."""
    return co_like((32, 32), seed=seed, protocol=Protocol(stages=(Quench(0.5, 2e-12, temperature=KELVIN),)), **changes)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("open_edges", ["none", "ellipse"])
def test_the_stochastic_field_is_the_same_on_every_backend(backend: str, open_edges: str) -> None:
    """2 ps, single against double precision: 1e-4. Without the noise, or with other noise, it is another path."""
    film = hot(open_edges=open_edges)
    m = quenched(film, "numpy")
    assert np.abs(quenched(film, backend) - m).max() < 1e-4
    cold = replace(film, protocol=Protocol(stages=(Quench(0.5, 2e-12),)))
    assert np.abs(quenched(cold, backend) - m).max() > 0.1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_thermal_quench_is_its_seeds(backend: str) -> None:
    """The same seed gives the same bits, a second time and in company; another seed gives another film."""
    first, others = quenched(hot(), backend), relax([hot(seed) for seed in (8, 7, 9)], backend)
    assert others[1].m is not None
    assert others[0].m is not None
    assert (first == quenched(hot(), backend)).all()
    assert (first == others[1].m).all()
    assert np.mean(first != others[0].m) > 0.99


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_second_thermal_stage_draws_new_numbers(backend: str) -> None:
    """Free spins from z, 1 ps and 1 ps more: where they go in the second stage does not repeat the first.

    The correlation of 2 × 4,096 steps is 0 within four standard errors. With the same numbers it would be close to 1.
    """
    stage = Quench(0.5, 1e-12, temperature=KELVIN)
    film = Film((64, 64), CUBE, 1e6, 0.0, 1e-30, demag=False, protocol=Protocol(Uniform((0, 0, 1), noise=0), (stage,)))
    once = quenched(film, backend)[:2]
    twice = quenched(replace(film, protocol=Protocol(film.protocol.initial, (stage, stage))), backend)[:2]
    correlation = np.corrcoef(once.ravel(), (twice - once).ravel())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(once.size)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_thermal_film_can_be_cooled_and_minimised(backend: str) -> None:
    """Stages follow one another: what a film keeps of 300 K after a minimisation is its domains."""
    stages = (Quench(0.5, 20e-12, temperature=KELVIN), Quench(0.5, 20e-12), Minimize(1e-4))
    done = ended(co_like((64, 64), protocol=Protocol(stages=stages)), backend)
    assert done.max_torque <= 1e-4
    assert done.m is not None
    assert 0.2 < np.mean(done.m[2] > 0) < 0.8
