"""Quantities keep their units until they are SI numbers, and no unit is ever guessed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magray.errors import UserError
from magray.units import DIMENSIONS, MU0, in_si, parse_quantity


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("1500 kA/m", "magnetisation", 1.5e6),
        ("1.6 MJ/m3", "anisotropy", 1.6e6),
        ("1.6 MJ/m³", "anisotropy", 1.6e6),
        ("1.6MJ/m^3", "anisotropy", 1.6e6),
        ("31 pJ/m", "exchange", 31e-12),
        ("0.1 mJ/m2", "dmi", 0.1e-3),
        ("-0.1 mJ/m²", "dmi", -0.1e-3),
        ("4 nm", "length", 4e-9),
        ("0.5 um", "length", 5e-7),
        ("0.5 µm", "length", 5e-7),  # U+00B5, micro sign
        ("0.5 μm", "length", 5e-7),  # U+03BC, Greek mu
        ("80 kA/m", "field", 8e4),
        ("100 mT", "field", 0.1 / MU0),
        ("0.2", "ratio", 0.2),
        (0.2, "ratio", 0.2),
        ("2e-1", "ratio", 0.2),
    ],
)
def test_quantities_become_the_floats_that_python_code_would_write(text: str, dimension: str, value: float) -> None:
    """Equal, not close: a film's id depends on every bit of its inputs."""
    assert parse_quantity(text, dimension, "x") == value


def test_a_number_without_its_unit_is_refused_with_an_example() -> None:
    with pytest.raises(UserError, match=r"^Ms: 1500 has no unit; write for example 1500 kA/m$"):
        parse_quantity(1500, "magnetisation", "Ms")


def test_a_wrong_unit_is_refused_with_those_that_fit() -> None:
    with pytest.raises(UserError, match=r"^Ms: unit J/m3 does not fit; accepted: A/m, kA/m, MA/m$"):
        parse_quantity("1500 J/m3", "magnetisation", "Ms")
    with pytest.raises(UserError, match="plain number"):
        parse_quantity("0.1 nm", "ratio", "sigma")


@pytest.mark.parametrize(
    "text",
    [
        *("", "kA/m", "many kA/m", "1 2 kA/m", "nan kA/m", "inf kA/m", "1e999 kA/m", True, None, [1]),
        *(
            "1e9999999 kA/m",
            "1e-9999999 kA/m",
            "1e99999999999999999999 kA/m",
            "1" * 5000 + " A/m",
            "1" * 10**6 + " a b",
        ),
    ],
)
def test_anything_but_a_finite_quantity_is_refused(text: object) -> None:
    with pytest.raises(UserError, match=r"^Ms: "):
        parse_quantity(text, "magnetisation", "Ms")


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(sorted(DIMENSIONS)))
def test_writing_and_reading_changes_no_bit(value: float, dimension: str) -> None:
    again = parse_quantity(in_si(value, dimension), dimension, "x")
    assert again == value
    assert math.copysign(1, again) == math.copysign(1, value)
