"""The three numbers of the tolerance table, against cases worked by hand."""

import math

import numpy as np
import pytest

from magray.evaluation.metrics import bias, mae, r2

TRUE = np.array([1.0, 2.0, 3.0])


def test_perfect_estimates() -> None:
    assert (r2(TRUE, TRUE), mae(TRUE, TRUE), bias(TRUE, TRUE)) == (1, 0, 0)


def test_saying_the_mean_is_worth_nothing() -> None:
    assert r2(TRUE, np.full(3, 2.0)) == 0


def test_worked_example() -> None:
    """Errors 1, 1, −2 against deviations −1, 0, 1: R² = 1 − 6 / 2."""
    estimated = TRUE + np.array([1.0, 1.0, -2.0])
    assert r2(TRUE, estimated) == pytest.approx(-2)
    assert mae(TRUE, estimated) == pytest.approx(4 / 3)
    assert bias(TRUE, estimated) == pytest.approx(0)


def test_r2_of_one_set_value_is_no_number() -> None:
    assert math.isnan(r2(np.ones(3), TRUE))


@pytest.mark.filterwarnings("error")
def test_bias_of_no_estimates_is_no_number() -> None:
    assert math.isnan(bias(TRUE[:0], TRUE[:0]))
