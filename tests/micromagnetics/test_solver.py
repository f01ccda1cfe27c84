"""The solver and its minimiser on films of every kind."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from magray.errors import UserError
from magray.films import Minimize, Protocol, Quench, Uniform
from magray.micromagnetics import FilmSolver, energy_terms, field_terms, relax
from magray.micromagnetics import cpu_kernels as kernels
from magray.micromagnetics.cpu import CpuBackend
from magray.micromagnetics.initial_state import initial_state
from magray.micromagnetics.mask import mask
from magray.micromagnetics.reference import Reference
from magray.units import MU0
from tests.support.specimens import BACKENDS, broken, co_like


def test_both_backends_relax_a_film_to_the_same_state() -> None:
    """From the same start, in double and in single precision; a small film has a single minimum."""
    film = co_like((48, 32), field=(0.0, 0.0, 2e5))
    (exact,), (fast,) = relax([film], "numpy"), relax([film], "cpu")
    assert exact.m is not None
    assert fast.m is not None
    assert exact.converged
    assert fast.converged
    assert np.abs(exact.m - fast.m).max() < 1e-3
    assert fast.energy == pytest.approx(exact.energy, rel=1e-5, abs=1.0)


def test_a_relaxed_film_has_the_torque_and_energy_it_reports() -> None:
    film = co_like((64, 64))
    (done,) = relax([film])
    assert done.m is not None
    seen = Reference(film).evaluate(done.m.astype(np.float64))
    assert done.max_torque <= 1e-4
    assert seen.torque == pytest.approx(done.max_torque, abs=2e-6)
    assert seen.energy * MU0 * film.Ms**2 == pytest.approx(done.energy["total"], rel=1e-6)
    start = Reference(film).evaluate(initial_state(film).astype(np.float64))
    assert seen.energy < start.energy
    assert np.abs(np.linalg.norm(done.m, axis=0) - 1).max() < 1e-6


def test_a_film_does_not_depend_on_the_others() -> None:
    """Alone, among others, on one thread or two: the same bits."""
    film = co_like((64, 64))
    others = [co_like((64, 64), seed=seed) for seed in range(5)]
    alone = next(FilmSolver("cpu", threads=1).stream([film]))
    among = next(done for done in FilmSolver("cpu", threads=2).stream([*others, film]) if done.film == film)
    assert alone.m is not None
    assert among.m is not None
    assert (alone.m == among.m).all()
    assert (alone.energy, alone.evaluations) == (among.energy, among.evaluations)


def test_a_field_does_not_depend_on_where_its_arrays_lie_in_memory() -> None:
    """Arrays that lie side by side send the compiled loops past the vector units, as happens in threads."""
    film = co_like((64, 64))
    backend, m = CpuBackend(film), initial_state(film)
    arrays = {"m": m, "h": backend.demag(m), "ku1": backend.ku1, "out": np.zeros_like(m)}
    ends = set()
    for order in permutations(arrays):
        memory = np.concatenate([arrays[name].ravel() for name in order])
        places = np.cumsum([0, *(arrays[name].size for name in order)])
        at = {name: memory[i : i + arrays[name].size] for i, name in zip(places, order, strict=False)}
        vectors = {name: at[name].reshape(3, 64, 64) for name in ("m", "h", "out")}
        kernels.add_local_terms(vectors["m"], vectors["h"], at["ku1"].reshape(64, 64), backend.coefficients)
        torque = kernels.force_in_place(vectors["m"], vectors["h"], backend.coefficients)
        flat_m, flat_h, flat_out = (at[name].reshape(3, -1) for name in ("m", "h", "out"))
        kernels.rotate(flat_m, flat_h, np.float32(0.2), flat_out)
        ends.add((at["h"].tobytes(), at["out"].tobytes(), torque))
    assert len(ends) == 1


def test_films_come_back_in_their_order() -> None:
    films = [co_like((n, n)) for n in (64, 16, 32, 8)]
    assert [done.film for done in relax(films)] == films


def test_a_film_that_does_not_converge_says_so() -> None:
    film = co_like((64, 64), protocol=Protocol(stages=(Minimize(max_evaluations=10),)))
    (done,) = relax([film])
    assert (done.status, done.evaluations) == ("not_converged", 10)
    assert done.max_torque > 1e-4
    assert "after 10 evaluations" in done.reason


def test_a_film_that_turns_non_finite_is_reported_and_the_others_go_on() -> None:
    lost, sound = broken(co_like()), co_like()
    first, second = relax([lost, sound], "cpu")
    assert (first.status, first.m) == ("failed", None)
    assert lost.film_id in first.reason
    assert second.converged


def test_relax_takes_films_from_a_generator_and_refuses_anything_else() -> None:
    quick = Protocol(stages=(Minimize(max_evaluations=2),))
    films = [co_like((8, 8), seed=seed, protocol=quick) for seed in (2, 1)]
    assert [done.film for done in relax((film for film in films), "numpy")] == films
    assert relax([], "numpy") == []
    for no_films in (films[0], [films[0], "film"], "films", None):
        with pytest.raises(UserError, match="films: give a"):
            relax(no_films, "numpy")  # type: ignore[arg-type]


@pytest.mark.parametrize("m", [np.zeros((3, 8, 16)), np.zeros((8, 8)), 0.0])
def test_the_fields_of_another_shape_are_refused(m: Any) -> None:
    with pytest.raises(UserError, match=r"m: give the unit vectors of the film's cells, of shape \(3, 16, 8\)"):
        field_terms(co_like((8, 16)), m)


@pytest.mark.parametrize("backend", ["cuda", "cupy"])
def test_a_backend_that_is_not_there_is_refused(backend: str) -> None:
    with pytest.raises(UserError, match="backend"):
        FilmSolver(backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_thick_films_of_little_anisotropy_converge(backend: str) -> None:
    """22 nm thick, Keff a fifteenth of ½ µ0 Ms²: waves are 15 times as stiff as in the preconditioner.

    Without it being scaled, the steps of this film went round in circles, at a torque of 0.1 Ms.
    """
    drawn: dict[str, Any] = {"Ku1": 0.6711e6, "Aex": 4.2e-12, "D": 0.21e-3, "dmi": "interfacial", "sigma": 0.029}
    stages = (Minimize(3e-4, max_evaluations=1500),)
    film = co_like(
        (64, 64), Ms=1e6, cell_size=(4e-9, 4e-9, 22e-9), **drawn, grain_size=12e-9, protocol=Protocol(stages=stages)
    )
    (done,) = relax([film], backend)
    assert done.converged, done.reason


SHORT = Protocol(stages=(Minimize(1e-4, max_evaluations=400),))


@pytest.mark.parametrize(
    "changes",
    [
        {"open_edges": "x"},
        {"open_edges": "ellipse"},
        {"demag": False},
        {"grain_size": 16e-9},
        {"protocol": Protocol(Uniform((1, 2, 3), 0.1), (Quench(0.5, 5e-12, 300.0), Minimize(1e-4)))},
    ],
)
def test_both_backends_relax_films_of_every_kind_to_the_same_state(changes: dict[str, Any]) -> None:
    """A field along z leaves a single minimum."""
    film = co_like((24, 16), field=(1e5, 0.0, 4e5), **{"protocol": SHORT, **changes})
    (exact,), (fast,) = relax([film], "numpy"), relax([film], "cpu")
    assert exact.m is not None
    assert fast.m is not None
    assert exact.converged, exact.reason
    assert fast.converged, fast.reason
    assert np.abs(exact.m - fast.m).max() < 1e-3
    assert fast.energy == pytest.approx(exact.energy, rel=1e-5, abs=1.0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "changes",
    [
        {"field": (0.0, 0.0, 1e6)},
        {"field": (0.0, 0.0, 4e6)},
        {"field": (0.0, 3e6, 0.0)},
        {"demag": False},
        {"demag": False, "field": (0.0, 0.0, 4e5)},
        {"demag": False, "open_edges": "xy"},
    ],
)
def test_films_in_strong_fields_or_without_demag_relax_as_quickly(backend: str, changes: dict[str, Any]) -> None:
    """Both make the film stiffer than Ku1 − ½ µ0 Ms², as its preconditioner includes. 30 to 90 evaluations."""
    (done,) = relax([co_like((64, 64), protocol=SHORT, **changes)], backend)
    assert done.converged, done.reason


@pytest.mark.parametrize("backend", ["numpy", *BACKENDS])
def test_a_film_leaves_a_maximum_of_its_energy(backend: str) -> None:
    """Without anisotropy a film lies in its plane; one that starts along z does not stay there, thanks to its noise."""
    soft = co_like((32, 32), Ku1=0.0, sigma=0.0, D=0.0, dmi="none", protocol=Protocol(Uniform((0, 0, 1))))
    (done,) = relax([soft], backend)
    assert done.converged, done.reason
    assert done.m is not None
    assert np.abs(done.m[2]).max() < 0.1
    assert done.energy["demag"] < 0.01 * 0.5 * MU0 * soft.Ms**2


@pytest.mark.parametrize("backend", ["numpy", *BACKENDS])
def test_a_film_ends_in_the_field_of_its_last_stage(backend: str) -> None:
    """Saturated up, then down; its energies are those in the field that was applied last, its own or a stage's."""
    up, down = (0.0, 0.0, 8e5), (1e5, 0.0, -8e5)
    stages = (Minimize(1e-4, 400, field=up), Minimize(1e-4, 400, field=down))
    film = co_like((16, 16), field=(0.0, 0.0, 1e5), protocol=Protocol(stages=stages))
    (done,) = relax([film], backend)
    assert done.m is not None
    assert done.converged, done.reason
    assert (done.m[2] < -0.9).all()
    assert done.energy == pytest.approx(energy_terms(film.in_stage(stages[1]), done.m), rel=1e-5, abs=1.0)
    (later,) = relax([replace(film, protocol=Protocol(stages=(*stages[:1], Minimize(1e-4, 400))))], backend)
    assert later.m is not None
    assert (later.m[2] > 0.9).all()
    assert later.energy["zeeman"] == pytest.approx(-MU0 * film.Ms * 1e5 * later.m[2].mean(), rel=1e-4)


@pytest.mark.parametrize("backend", ["numpy", *BACKENDS])
def test_a_quench_is_never_unconverged(backend: str) -> None:
    """It ends when its time is over, whatever torque is left; its torque and energy are those of where it ended."""
    film = co_like((32, 16), protocol=Protocol(stages=(Quench(0.5, 3e-12),)))
    (done,) = relax([film], backend)
    assert done.converged
    assert done.reason == ""
    assert done.m is not None
    seen = Reference(film).evaluate(done.m.astype(np.float64))
    assert done.max_torque > 0.1
    assert done.max_torque == pytest.approx(seen.torque, rel=1e-4)
    assert done.energy == pytest.approx(energy_terms(film, done.m), rel=1e-4, abs=1.0)


@pytest.mark.parametrize("backend", ["numpy", *BACKENDS])
def test_a_minimisation_that_gives_up_is_reported_though_a_quench_follows(backend: str) -> None:
    stages = (Minimize(max_evaluations=5), Quench(0.5, 1e-12))
    (done,) = relax([co_like((32, 32), protocol=Protocol(stages=stages))], backend)
    assert done.status == "not_converged"
    assert "after 5 evaluations" in done.reason
    assert done.m is not None


@pytest.mark.parametrize("backend", ["numpy", *BACKENDS])
def test_a_quench_that_turns_non_finite_is_reported(backend: str) -> None:
    lost = broken(co_like(protocol=Protocol(stages=(Quench(0.5, 1e-12),))))
    done, sound = relax([lost, co_like()], backend)
    assert (done.status, done.m) == ("failed", None)
    assert lost.film_id in done.reason
    assert sound.converged


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_ellipse_has_unit_moments_inside_and_none_outside(backend: str) -> None:
    stages = (Quench(0.5, 2e-12, 300.0), Minimize(1e-4))
    film = co_like((48, 32), open_edges="ellipse", protocol=Protocol(stages=stages))
    (done,) = relax([film], backend)
    assert done.m is not None
    assert done.converged, done.reason
    assert np.abs(np.linalg.norm(done.m, axis=0) - mask(film)).max() < 1e-6
