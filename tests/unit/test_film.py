"""A film's identity, and the values that no film can have."""

from typing import Any

import numpy as np
import pytest

from magray.errors import UserError
from magray.films import Film, Minimize, Protocol, Sampling, films_of, plan_table, sample
from tests.specimens import CO_LIKE, co_like


def test_the_id_never_changes() -> None:
    """Films in stores all over the world bear it; a change of PHYSICS_VERSION must come with it."""
    assert co_like((256, 256)).film_id == "7750909d76e129d39eb4add3"


@pytest.mark.parametrize(
    "change",
    [
        {"cells": (32, 64)},
        {"cell_size": (4e-9, 4e-9, 5e-9)},
        {"Ms": 1.4e6},
        {"Ku1": 1.5e6},
        {"Aex": 30e-12},
        {"D": 0.6e-3},
        {"dmi": "interfacial"},
        {"sigma": 0.2},
        {"field": (0.0, 0.0, 1.0)},
        {"seed": 8},
        {"protocol": Protocol(stages=(Minimize(torque=1e-3),))},
    ],
)
def test_every_input_is_part_of_the_id(change: dict[str, Any]) -> None:
    assert co_like(**change).film_id != co_like().film_id


def test_how_a_number_is_written_is_not_part_of_the_id() -> None:
    assert co_like(Ms=1500000, field=(-0.0, 0, 0)).film_id == co_like(Ms=1.5e6).film_id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cells": (255, 256)}, "255 is not an even number between 8 and 8192"),
        ({"cells": (6, 256)}, "6 is not an even number between 8 and 8192"),
        ({"cells": (100_000, 256)}, "100000 is not an even number"),
        ({"cells": (254, 256)}, "254 has a prime factor above 7"),
        ({"cells": (256,)}, "cells takes 2 numbers, not 1"),
        ({"cell_size": (4e-9, 0.0, 4e-9)}, "cell_size must be three lengths"),
        ({"cell_size": (4.0, 4.0, 4.0)}, "cell_size must be three lengths in metres"),
        ({"Ms": -1.5e6}, "Ms must be above 0 A/m"),
        ({"Ms": float("nan")}, "Ms must be a finite number"),
        ({"Aex": 0.0}, "Aex must be above 0 J/m"),
        ({"sigma": 1.5}, "sigma is relative to Ku1"),
        ({"dmi": "surface"}, "dmi is one of bulk, interfacial, none"),
        ({"dmi": "none"}, "but dmi is none"),
        ({"field": (0.0, 0.0, float("inf"))}, "field must be three finite numbers"),
        ({"seed": -1}, "seed must lie between"),
    ],
)
def test_impossible_films_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        co_like(**change)


@pytest.mark.parametrize("make", [lambda: Minimize(torque=0), lambda: Minimize(max_evaluations=0)])
def test_impossible_stages_are_refused(make: Any) -> None:
    with pytest.raises(UserError, match="minimize"):
        make()


def test_a_protocol_needs_a_known_start_and_a_stage() -> None:
    with pytest.raises(UserError, match="initial is one of random, up"):
        Protocol(initial="down")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no stages"):
        Protocol(stages=())


def test_dmi_beyond_the_critical_value_is_allowed_with_a_warning() -> None:
    """Dc = 4 √(A Keff) / π = 3.05 mJ/m² for the Co-like film."""
    assert co_like().critical_D == pytest.approx(3.05e-3, rel=0.01)
    assert not co_like(D=1e-3).warnings
    assert "beyond the critical 3.0" in co_like(D=4e-3).warnings[0]


SAMPLING = Sampling(
    {"cells": (32, 32), "cell_size": (4e-9,) * 3, **CO_LIKE}, {"D": (1e-4, 1e-3), "sigma": (0.05, 0.2)}, 400, 2026
)


def test_a_plan_draws_uniformly_and_every_film_its_own_seed() -> None:
    films = sample(SAMPLING)
    D = np.array([film.D for film in films])
    assert D.min() >= 1e-4
    assert D.max() < 1e-3
    assert np.abs(np.histogram(D, bins=4, range=(1e-4, 1e-3))[0] - 100).max() < 35  # four standard deviations
    assert len({film.seed for film in films}) == len({film.film_id for film in films}) == 400
    assert abs(np.corrcoef(D, [film.sigma for film in films])[0, 1]) < 0.2


def test_a_longer_plan_begins_with_the_shorter_one() -> None:
    longer = sample(Sampling(SAMPLING.fixed, SAMPLING.ranges, 410, SAMPLING.seed))
    assert longer[:400] == sample(SAMPLING)


def test_a_fifth_of_the_films_is_for_testing() -> None:
    """A binomial count: 80 of 400, standard deviation 8."""
    assert sum(film.split == "test" for film in sample(SAMPLING)) == pytest.approx(80, abs=32)


def test_films_survive_their_plan() -> None:
    films: list[Film] = sample(SAMPLING)[:5]
    plan = plan_table(films, "test")
    assert films_of(plan) == films
    assert plan["film_id"].to_pylist() == [film.film_id for film in films]
    assert plan.schema.field("Ms").metadata == {b"unit": b"A/m"}
