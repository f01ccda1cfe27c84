"""Stages of many fields: loops of particles with closed forms, and what a demagnetised film is like."""

from functools import cache

import numpy as np
import pytest

from magray import Demagnetise, Film, Minimize, Protocol, Quench, Sweep, Uniform
from magray.micromagnetics import RelaxedFilm, relax
from magray.units import MU0
from tests.support.specimens import BACKENDS

# --- a particle whose m turns as one ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", *BACKENDS])
@pytest.mark.parametrize("degrees", [10, 45, 80])
def test_a_particle_follows_stoner_and_wohlfarth_and_switches_where_they_say(backend: str, degrees: float) -> None:
    """At h = −(cos^⅔ θ + sin^⅔ θ)^−³ᐟ² of 2 Ku1 / (µ0 Ms), θ between field and axis (Phil. Trans. A 240, 599, 1948).

    Between a field a thousandth below that and one a thousandth above; at each field, m is where its torque vanishes.
    """
    Ms, Ku1, theta = 8e5, 4e5, np.radians(degrees)
    switching = (np.cos(theta) ** (2 / 3) + np.sin(theta) ** (2 / 3)) ** -1.5
    reduced = [1.0, 0.0, -0.5 * switching, -0.999 * switching, -1.001 * switching, -1.0]
    direction = (float(np.sin(theta)), 0.0, float(np.cos(theta)))
    sweep = Sweep([h * 2 * Ku1 / (MU0 * Ms) for h in reduced], direction)  # type: ignore[arg-type]
    film = Film(
        (8, 8), (4e-9, 4e-9, 4e-9), Ms, Ku1, 13e-12, demag=False, protocol=Protocol(Uniform(direction), (sweep,))
    )
    (done,) = relax([film], backend)
    assert done.converged, done.reason
    for h, point in zip(reduced, done.loop, strict=True):
        x, _, z = point.m
        assert np.hypot(x, z) == pytest.approx(1, abs=1e-4)
        assert x * z == pytest.approx(h * (z * np.sin(theta) - x * np.cos(theta)), abs=2e-4)
        assert (z > 0) == (h > -switching)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_loop_of_standard_problem_2_in_the_limit_of_small_particles(backend: str) -> None:
    """5 : 1 : 0.1, d = lex, the field along (1, 1, 1): a remanence of (1, 0, 0) Ms, a coercive field of 0.05707 Ms.

    The limit is that of Donahue, Porter, McMichael and Eicke, J. Appl. Phys. 87, 5520 (2000), at d = lex m is
    uniform to 5e-5, and a coarse grid of 40 × 8 cells still has the exact demagnetising factors. Within 2e-4 Ms.
    """
    Ms, Aex = 8e5, 13e-12
    d = float(np.sqrt(2 * Aex / (MU0 * Ms**2)))
    reduced = [1.0, 0.5, 0.2, 0.0, -0.04, -0.0569, -0.0572]
    sweep = Sweep([h * Ms for h in reduced], (1, 1, 1), torque=3e-4)  # type: ignore[arg-type]
    protocol = Protocol(Uniform((1, 1, 1)), (sweep,))
    (done,) = relax([Film((40, 8), (d / 8, d / 8, d / 10), Ms, 0.0, Aex, open_edges="xy", protocol=protocol)], backend)
    assert done.converged, done.reason
    along = [sum(point.m) / np.sqrt(3) for point in done.loop]
    assert done.loop[3].m == pytest.approx((1, 0, 0), abs=1e-3)
    assert along[-2] > 0 > along[-1]
    assert np.linalg.norm(done.loop[-2].m) == pytest.approx(1, abs=1e-4)


# --- a film with domains ----------------------------------------------------------------------------------------------

SEEDS = 4


def thick_films(protocol: Protocol) -> list[Film]:
    """36 nm thick, of little Keff: their loops are sheared, and they have four walls across."""
    return [
        Film(
            (40, 40),
            (6e-9, 6e-9, 36e-9),
            8e5,
            0.42e6,
            15e-12,
            sigma=0.1,
            grain_size=20e-9,
            seed=seed,
            protocol=protocol,
        )
        for seed in range(SEEDS)
    ]


@cache
def quenched(backend: str) -> list[RelaxedFilm]:
    """The same films after 2 ns from a random start."""
    return relax(thick_films(Protocol(stages=(Quench(0.5, 2e-9),))), backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("direction", [(0, 0, 1), (0.87, 0, 0.5)], ids=["along z", "tilted"])
def test_a_saturated_film_is_demagnetised_and_lower_in_energy_than_a_quenched_one(
    backend: str, direction: tuple[float, float, float]
) -> None:
    """From m along z in 0.4 T, by fields that fall by a quarter each: mean |⟨mz⟩| and mean energy over the seeds."""
    start = 0.4 / MU0
    stages = (
        Minimize(field=(0.0, 0.0, start)),
        Demagnetise(start, 0.05 * start, direction, ratio=0.75),
        Minimize(),
    )
    done = relax(thick_films(Protocol(Uniform((0, 0, 1)), stages)), backend)
    assert all(film.converged for film in done), [film.reason for film in done]
    assert np.mean([abs(film.m[2].mean()) for film in done if film.m is not None]) < 0.05
    energies = [[film.energy["total"] for film in films] for films in (done, quenched(backend))]
    assert np.mean(energies[0]) < np.mean(energies[1]) < 0
