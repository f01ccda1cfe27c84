"""The solver and its minimiser: what they promise of any film."""

import numpy as np
import pytest

from magray.errors import UserError
from magray.films import Minimize, Protocol
from magray.films.film import MU0
from magray.micromagnetics import FilmSolver, relax
from magray.micromagnetics.oracle import OracleLandscape
from magray.micromagnetics.random import initial_state
from tests.specimens import co_like


def test_both_backends_relax_a_film_to_the_same_state() -> None:
    """From the same start, in double and in single precision; a small film has one minimum to fall into."""
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
    seen = OracleLandscape(film).evaluate(done.m.astype(np.float64))
    assert done.max_torque <= 1e-4
    assert seen.torque == pytest.approx(done.max_torque, abs=2e-6)
    assert seen.energy * MU0 * film.Ms**2 == pytest.approx(done.energy["total"], rel=1e-6)
    start = OracleLandscape(film).evaluate(initial_state(film).astype(np.float64))
    assert seen.energy < start.energy
    assert np.abs(np.linalg.norm(done.m, axis=0) - 1).max() < 1e-6


def test_a_film_does_not_depend_on_its_company() -> None:
    """Alone, among others, on one thread or two: the same bits."""
    film = co_like((64, 64))
    others = [co_like((64, 64), seed=seed) for seed in range(5)]
    alone = next(FilmSolver("cpu", threads=1).stream([film]))
    among = next(done for done in FilmSolver("cpu", threads=2).stream([*others, film]) if done.film == film)
    assert alone.m is not None
    assert among.m is not None
    assert (alone.m == among.m).all()
    assert (alone.energy, alone.evaluations) == (among.energy, among.evaluations)


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
    broken, sound = co_like(Ku1=1e300), co_like()
    first, second = relax([broken, sound], "cpu")
    assert (first.status, first.m) == ("failed", None)
    assert broken.film_id in first.reason
    assert second.converged


@pytest.mark.parametrize("backend", ["cuda", "cupy"])
def test_a_backend_that_is_not_there_is_refused(backend: str) -> None:
    with pytest.raises(UserError, match="backend"):
        FilmSolver(backend)
