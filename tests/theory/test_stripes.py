"""Stripe theory: published periods, closed-form limits, and the solver's own stripes."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

from magray.errors import UserError
from magray.films import Film, Minimize, Protocol
from magray.films.film import Dmi
from magray.films.reduced import ReducedNumbers, profile_narrowing, wall_energy
from magray.micromagnetics import RelaxedFilm, relax
from magray.theory import Layer, dmi_of_period, stripe_period
from magray.theory.patterns import equilibrium
from magray.theory.stripes import stripes
from magray.units import MU0

CO_LIKE = Layer(Ms=1.5e6, Ku1=1.6e6, Aex=31e-12, thickness=4e-9, dmi="bulk")
CELL = 4e-9


@pytest.mark.parametrize(("D", "period"), [(0.1e-3, 908e-9), (0.5e-3, 641e-9), (1.0e-3, 416e-9)])
def test_the_period_of_co_like_films_falls_with_their_dmi(D: float, period: float) -> None:
    """The same numbers as from the formula of Lemesh, Büttner and Beach, minimised over W and Δ."""
    assert stripe_period(CO_LIKE, D) == pytest.approx(period, abs=0.5e-9)


def test_thick_films_have_the_period_of_kittel() -> None:
    """W = √(σw t / (0.136 µ0 Ms²)), for t ≫ W ≫ Δ and Ku1 ≫ ½ µ0 Ms², so that the walls have no stray field."""
    thick = Layer(Ms=0.2e6, Ku1=2e6, Aex=10e-12, thickness=1e-4, dmi="none")
    W = math.sqrt(4 * math.sqrt(10e-12 * 2e6) * 1e-4 / (0.1357 * MU0 * 0.2e6**2))
    assert stripe_period(thick, 0.0) == pytest.approx(2 * W, rel=0.01)


def test_thin_films_with_thinner_walls_have_the_period_of_kaplan_and_gehring() -> None:
    """0.955 t exp(π σw / (µ0 Ms² t)) for Δ ≪ t ≪ W: here by a factor of 50 each."""
    thickness, exponent = 10e-9, 4.0
    Ms, width = 0.3e6, 0.1e-9
    sigma = exponent * MU0 * Ms**2 * thickness / math.pi
    thin = Layer(Ms, Ku1=sigma / (4 * width), Aex=sigma * width / 4, thickness=thickness, dmi="none")
    assert stripe_period(thin, 0.0) / 2 == pytest.approx(0.955 * thickness * math.exp(exponent), rel=0.03)


def test_the_thinnest_films_have_a_period_of_their_walls_width() -> None:
    """W = (π²/4) Δ exp(1 − γ − I + π s) for t ≪ Δ ≪ W, I = −∫ ln u d(u / sinh u)²: the thin limit of the energy."""

    def slope(u: float) -> float:
        return 2 * u / math.sinh(u) ** 2 * (1 - u / math.tanh(u))

    integral = -quad(lambda u: math.log(u) * slope(u), 1e-9, 50)[0]
    numbers = ReducedNumbers(Q1=0.1, tau=0.01, delta=1.0, d=0.97)
    made = numbers.constants(Ms=1e6, pixel=10e-9)
    D = made.pop("D")
    W = np.pi**2 / 4 * 10e-9 * np.exp(1 - np.euler_gamma - integral + np.pi * numbers.s)
    assert stripe_period(Layer(**made, dmi="bulk"), D) == pytest.approx(2 * W, rel=0.01)


@pytest.mark.parametrize("dmi", ["bulk", "interfacial"])
@pytest.mark.parametrize("D", [0.2e-3, 0.6e-3, 1.0e-3])
def test_dmi_comes_back_from_the_period(dmi: Dmi, D: float) -> None:
    layer = Layer(1.5e6, 1.6e6, 31e-12, 4e-9, dmi)
    assert dmi_of_period(layer, stripe_period(layer, D)) == pytest.approx(D, rel=1e-3)
    assert stripe_period(layer, -D) == stripe_period(layer, D)


def test_interfacial_dmi_below_its_threshold_hardly_changes_the_period() -> None:
    """It first has to turn Bloch walls into Néel walls, against the charges of these: D² / threshold instead of D."""
    layer = Layer(1.5e6, 1.6e6, 31e-12, 4e-9, "interfacial")
    periods = [stripe_period(layer, D) for D in (0.0, 0.1e-3)]
    assert periods[1] == pytest.approx(periods[0], rel=0.005)
    assert equilibrium(layer, 0.1e-3, stripes(layer, periods[1])).neel < 1
    assert equilibrium(layer, 1.6e-3, stripes(layer, periods[1])).neel == 1


def test_a_period_that_no_dmi_gives_has_none() -> None:
    assert math.isnan(dmi_of_period(CO_LIKE, 5e-6))
    assert math.isnan(dmi_of_period(CO_LIKE, math.nan))  # of a picture without domains
    assert math.isnan(dmi_of_period(CO_LIKE, 20e-9))
    with pytest.raises(UserError, match="without DMI"):
        dmi_of_period(Layer(1.5e6, 1.6e6, 31e-12, 4e-9, "none"), 500e-9)


def test_a_film_that_lies_in_the_plane_has_no_stripes() -> None:
    with pytest.raises(UserError, match="lies in the plane"):
        Layer(Ms=1.5e6, Ku1=1.0e6, Aex=31e-12, thickness=4e-9)


def test_a_film_whose_domains_are_far_wider_than_any_sample_is_one_domain() -> None:
    assert math.isinf(stripe_period(Layer(0.3e6, 1e6, 20e-12, 1e-9, "bulk"), 0.0))


def striped(layer: Layer, D: float, periods: list[int]) -> list[RelaxedFilm]:
    """Return films that are as long as one period, in cells, and have relaxed to stripes across."""
    end = Protocol(stages=(Minimize(1e-4, 3000),))
    one = Film((40, 8), (CELL, CELL, layer.thickness), layer.Ms, layer.Ku1, layer.Aex, D, layer.dmi, protocol=end)
    return relax([replace(one, cells=(n, 8), seed=1) for n in periods], "cpu")


@pytest.mark.parametrize(("dmi", "d"), [("bulk", 0.5), ("interfacial", 0.7)])
def test_the_solver_and_the_theory_agree_on_the_energy_of_stripes(dmi: Dmi, d: float) -> None:
    """Within 1 % of the domains' energy, at all periods; so both agree on the period of least energy."""
    constants = ReducedNumbers(Q1=0.4, tau=24e-9, delta=12e-9, d=d).constants(Ms=1e6, pixel=1.0)
    D = constants.pop("D")
    layer = Layer(**constants, dmi=dmi)
    for film in striped(layer, D, [40, 48, 56, 64]):
        found = sum(film.energy[term] for term in ("exchange", "anisotropy", "dmi", "demag")) + layer.Ku1
        theory = equilibrium(layer, D, stripes(layer, film.film.cells[0] * CELL)).energy
        assert found == pytest.approx(theory, rel=0.01)


def test_the_narrowing_of_walls_in_thick_films_is_that_of_stripe_theory() -> None:
    for Q1, ratio, d in ((0.03, 0.5, 0.5), (0.1, 1.0, 0.7), (0.5, 2.0, 0.5), (2.0, 3.0, 0.9)):
        constants = ReducedNumbers(Q1, ratio, 1.0, d).constants(Ms=1e6, pixel=10e-9)
        D = constants.pop("D")
        layer = Layer(**constants, dmi="bulk")
        width = equilibrium(layer, D, stripes(layer, stripe_period(layer, D))).width
        assert profile_narrowing(Q1, ratio) * 10e-9 == pytest.approx(width, rel=0.08)


def test_a_walls_energy_is_what_an_isolated_wall_adds() -> None:
    """Far apart in a thin film, walls cost σw each, less the stray field that they save."""
    layer = Layer(1e6, 1.2e6, 15e-12, 0.1e-9, "bulk")
    walls = equilibrium(layer, 0.5e-3, stripes(layer, 1e-6))
    saved = 0.5 * MU0 * layer.Ms**2 - walls.energy
    assert -saved * 0.5e-6 == pytest.approx(wall_energy(15e-12, layer.Keff, 0.5e-3), rel=0.05)
