"""The tolerance of an estimator: where its error stays under twice its least."""

import pytest

from magray.evaluation.tolerance import tolerance_band


def test_a_band_ends_where_the_line_between_two_tests_reaches_twice_the_least_error() -> None:
    """Errors 4, 1, 3, 5 at 0.5, 1.0, 1.5, 2.0: 2 lies a third of the way to 0.5 and half of the way to 1.5."""
    found = tolerance_band([2.0, 0.5, 1.0, 1.5], [5.0, 4.0, 1.0, 3.0])
    assert (found.best, found.least) == (1.0, 1.0)
    assert (found.low, found.high) == pytest.approx((1 - 0.5 / 3, 1.25))
    assert found.width == pytest.approx(0.25 + 0.5 / 3)
    assert (found.open_low, found.open_high) == (False, False)


def test_what_lies_behind_a_worse_scale_does_not_count() -> None:
    """At 2.0 µm the error is small again, but who goes from 1.0 to 2.0 passes 1.5."""
    found = tolerance_band([1.0, 1.5, 2.0], [1.0, 9.0, 1.1])
    assert found.high == pytest.approx(1 + 0.5 / 8)


def test_a_band_that_goes_on_to_the_last_test_is_open() -> None:
    found = tolerance_band([0.5, 1.0, 1.5], [1.0, 1.2, 1.9])
    assert (found.low, found.high, found.open_low, found.open_high) == (0.5, 1.5, True, True)
