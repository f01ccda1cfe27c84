"""The error of stripe theory, and when it contradicts an answer."""

import math

import pytest

from magray.estimator.baselines import Baselines, stripe_error
from magray.films.reduced import critical_dmi, neel_threshold
from magray.theory import Layer, stripe_period

LAYER = Layer(Ms=1.5e6, Ku1=1.6e6, Aex=31e-12, thickness=4e-9, dmi="bulk")
PERIOD = stripe_period(LAYER, 0.5e-3)


def test_a_window_of_few_periods_knows_less_than_one_of_many() -> None:
    few, many = (stripe_error(LAYER, PERIOD, count * PERIOD, "minimised") for count in (1.5, 12))
    assert few > 1.4 * many


def test_a_film_whose_history_is_not_told_may_have_the_worst() -> None:
    errors = {history: stripe_error(LAYER, PERIOD, 6 * PERIOD, history) for history in ("minimised", "quenched", None)}
    assert errors["minimised"] < errors["quenched"] == errors[None]


def test_the_error_is_finite_where_no_D_gives_a_longer_period() -> None:
    """Without DMI, domains are as wide as they can be; a window of one period may show them wider yet."""
    longest = stripe_period(LAYER, 0.0)
    assert 0 < stripe_error(LAYER, 0.99 * longest, longest, "minimised") < float(critical_dmi(LAYER.Aex, LAYER.Keff))


def test_values_of_D_that_walls_do_not_feel_are_alike() -> None:
    threshold = neel_threshold(1.2e6, 1.4e-9)
    theory = Baselines(0.1 * threshold, 0.01 * threshold, math.nan, threshold, PERIOD)
    assert not theory.contradict(0.9 * threshold, 0.01 * threshold)
    assert theory.contradict(1.5 * threshold, 0.01 * threshold)


@pytest.mark.parametrize("D", [0.0, 1e-3])
def test_a_theory_without_a_value_contradicts_nothing(D: float) -> None:
    assert not Baselines(math.nan, math.nan, math.nan, 0.0, PERIOD).contradict(D, 1e-6)
