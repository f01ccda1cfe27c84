"""Designs: films of every perpendicular material, even over their reduced numbers and histories."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from magray.films import Demagnetise, Minimize, Protocol, Quench, Random, plan_table
from magray.films.design import HISTORIES, draw, history_of, reduced_columns, sobol_points
from magray.films.reduced import profile_narrowing
from magray.micromagnetics.llg import Steps
from tests.support.any_films import design

DESIGN = replace(
    design(2000, 256),
    seed=7,
    histories={"minimised": 0.45, "quenched": 0.2, "thermal": 0.1, "demagnetised": 0.25},
    max_evaluations=3000,
)
FILMS = draw(DESIGN)


def test_the_numbers_of_the_films_lie_in_their_ranges_and_fill_them() -> None:
    numbers = reduced_columns(plan_table(FILMS, "any"))
    for name in ("Q1", "t_over_wall_width", "d"):
        low, high = getattr(DESIGN, name)
        values = numbers[name].to_numpy()
        assert np.all((values >= low * (1 - 1e-9)) & (values <= high * (1 + 1e-9)))
        x = np.log(values) if name in ("Q1", "t_over_wall_width") else values
        counts, _ = np.histogram(x, np.linspace(x.min(), x.max(), 6))
        assert counts.min() > 0.05 * DESIGN.films


def test_walls_are_a_few_cells_wide_in_films_of_any_thickness() -> None:
    """√(Aex/Keff) is not enough: in a thick film of low Q1 walls are a quarter as wide, and cells would pin them."""
    numbers = reduced_columns(plan_table(FILMS, "any"))
    Q1, ratio, width = (numbers[name].to_numpy() for name in ("Q1", "t_over_wall_width", "wall_width"))
    profile = width * profile_narrowing(Q1, ratio)
    assert profile.min() >= DESIGN.wall_width[0] * 0.999
    assert profile.max() <= DESIGN.wall_width[1] * 1.001
    assert np.min(profile / width) < 0.4


def test_a_share_of_the_films_has_periods_beyond_the_window() -> None:
    beyond = sobol_points(DESIGN)["period"] > 256 * 4e-9 / 3
    assert beyond.mean() == pytest.approx(DESIGN.beyond, abs=0.01)


def test_a_share_of_the_films_has_a_larger_d_than_the_others() -> None:
    """Spirals: their other numbers are as those of all films, and all have the period of the film they were."""
    spirals = replace(DESIGN, spirals=0.1)
    d, base = sobol_points(spirals)["d"], sobol_points(DESIGN)["d"]
    above = d > DESIGN.d[1]
    assert above.mean() == pytest.approx(0.1, abs=0.01)
    assert (d[~above] == base[~above]).all()
    assert 1.0 < np.median(d[above]) < d.max() <= 1.5
    assert base[above].max() - base[above].min() > 0.8


def test_films_begin_alike_whatever_the_size_of_their_cells() -> None:
    assert {film.protocol.initial for film in FILMS} == {Random(DESIGN.start)}


def test_each_kind_of_film_has_its_share() -> None:
    histories = Counter(history_of(film.protocol) for film in FILMS)
    for history in HISTORIES:
        assert histories[history] / DESIGN.films == pytest.approx(DESIGN.histories[history], abs=0.03)
    assert sum(film.dmi == "bulk" for film in FILMS) / DESIGN.films == pytest.approx(0.5, abs=0.05)
    assert sum(film.grain_size > 0 for film in FILMS) / DESIGN.films == pytest.approx(0.5, abs=0.05)


def test_the_plan_has_the_numbers_that_the_design_drew() -> None:
    """They are computed from a film's own constants, so that any store's films have them."""
    drawn, numbers = sobol_points(DESIGN), reduced_columns(plan_table(FILMS, "any"))
    for name in ("Q1", "wall_width", "d"):
        np.testing.assert_allclose(numbers[name].to_numpy(), drawn[name], rtol=1e-9)
    t = drawn["thickness"]
    period = np.hypot(5.54 * drawn["wall_width"], 1.91 * t) * np.exp(np.pi * numbers["s"].to_numpy())
    np.testing.assert_allclose(period, drawn["period"], rtol=1e-9)


def test_a_longer_design_begins_with_a_shorter_one() -> None:
    assert [film.film_id for film in draw(replace(DESIGN, films=20))] == [film.film_id for film in FILMS[:20]]
    assert draw(replace(DESIGN, films=20, seed=8)) != FILMS[:20]


def test_a_quench_costs_a_bounded_number_of_demagnetising_fields() -> None:
    """The time step of a stiff film is short, and so is its quench: by 10 thousand fields without this."""
    steps = [
        Steps.of(film, stage).outer for film in FILMS for stage in film.protocol.stages if isinstance(stage, Quench)
    ]
    assert max(steps) < 3000
    assert np.mean(steps) < 800


def test_moments_at_a_temperature_stay_ordered_from_cell_to_cell() -> None:
    for film in FILMS:
        for stage in film.protocol.stages:
            if isinstance(stage, Quench) and stage.temperature:
                assert 0 < stage.temperature <= 300
                assert 1.380649e-23 * stage.temperature <= film.Aex * film.cell_size[2] / 4 * (1 + 1e-9)


@pytest.mark.parametrize(
    ("stages", "history"),
    [
        ((Minimize(),), "minimised"),
        ((Quench(0.5, 1e-9), Minimize()), "quenched"),
        ((Quench(0.5, 1e-9, 300), Minimize()), "thermal"),
        ((Demagnetise(1e6, 1e5, (0, 0, 1), steps=4), Minimize()), "demagnetised"),
    ],
)
def test_a_protocol_says_what_history_a_film_has(stages: tuple[Minimize, ...], history: str) -> None:
    assert history_of(Protocol(stages=stages)) == history
