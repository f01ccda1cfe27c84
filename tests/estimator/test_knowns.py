"""Constants of a film are accepted in every documented form, and refused otherwise in one line."""

import numpy as np
import pytest

from magray import UserError
from magray.estimator.knowns import Knowledge, Normal, Range, known_of, parse_known
from magray.units import MU0


@pytest.mark.parametrize(
    "text", ["1.20 ± 0.05 MA/m", "1.20 +- 0.05 MA/m", "1.20+/-0.05 MA/m", "1200 kA/m ± 50 kA/m", "1.2 MA/m ± 0.05"]
)
def test_an_error_may_be_written_in_every_common_way(text: str) -> None:
    known = parse_known(text, "Ms")
    assert isinstance(known, Normal)
    assert known.mean == pytest.approx(1.2e6)
    assert known.error == pytest.approx(5e4)


def test_an_error_may_be_a_percentage() -> None:
    assert parse_known("6.0 nm ± 5 %", "thickness").spread == pytest.approx(0.3e-9)


@pytest.mark.parametrize("text", ["10..20 pJ/m", "10 pJ/m .. 20 pJ/m", "10 .. 20pJ/m"])
def test_a_range_has_two_dots(text: str) -> None:
    known = parse_known(text, "Aex")
    assert isinstance(known, Range)
    assert known.low == pytest.approx(10e-12)
    assert known.high == pytest.approx(20e-12)


def test_a_value_alone_is_exact() -> None:
    assert parse_known("31 pJ/m", "Aex") == Normal(31e-12, 0.0)
    assert known_of(31e-12, "Aex") == Normal(31e-12, 0.0)


def test_an_anisotropy_field_in_tesla_is_divided_by_mu0() -> None:
    assert parse_known("0.4 T", "Hk").mean == pytest.approx(0.4 / MU0)


def test_the_sign_of_D_is_dropped() -> None:
    """The picture of mz does not show it."""
    assert known_of("-0.5 ± 0.1 mJ/m2", "D") == known_of("0.5 ± 0.1 mJ/m2", "D")


@pytest.mark.parametrize(
    ("text", "name", "problem"),
    [
        ("1.2", "Ms", "has no unit"),
        ("1.2 Oe", "Ms", "unit Oe does not fit"),
        ("1.2 ± 0.05 furlong", "Ms", "unit furlong does not fit"),
        ("1.2 ± -0.05 MA/m", "Ms", "is negative"),
        ("1 ± 2 ± 3 MA/m", "Ms", "more than one ±"),
        ("20..10 pJ/m", "Aex", "smaller end first"),
        ("", "Aex", "write for example"),
        ("much", "Aex", "write for example"),
        ("nan pJ/m", "Aex", "write for example"),
        ("1 ± ", "Aex", "Aex"),
    ],
)
def test_what_is_no_quantity_is_refused_in_one_line_that_names_the_constant(text: str, name: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        parse_known(text, name)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(name)


@pytest.mark.parametrize(
    ("constants", "problem"),
    [
        ({"thickness": "6 um"}, "thickness: .* more than any film has; was 6 nm meant"),
        ({"Ms": "1.2 A/m"}, "was 1200 kA/m meant"),
        ({"Keff": "-0.2 MJ/m3"}, "not above 0, so the film lies in the plane"),
        ({"Ms": "1.5 MA/m", "Ku1": "1.0 MJ/m3"}, "the film lies in the plane"),
        ({"Ms": "1.5 MA/m", "Ku1": "1.6 MJ/m3", "Keff": "0.5 MJ/m3"}, "Keff and Ku1 contradict each other"),
        ({"Ms": "1 MA/m", "Hk": "0.4 T", "Keff": "0.4 MJ/m3"}, "Keff and Hk contradict each other"),
        ({"mass": 1.0}, "no constant of a film"),
        ({"Ms": None, "Aex": True}, "Aex: give a number"),
        ({"D": "0.1..30 mJ/m2"}, "D: .* more than any film has"),
    ],
)
def test_constants_that_no_film_has_are_refused(constants: dict[str, object], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        Knowledge.of(constants)


def test_anisotropies_that_agree_within_their_errors_are_accepted() -> None:
    """Keff of 1.6 MJ/m³ − ½ µ0 (1.5 MA/m)² is 0.186 MJ/m³."""
    for Keff in ("0.186 MJ/m3", "0.25 ± 0.03 MJ/m3"):
        Knowledge.of({"Ms": "1.5 MA/m", "Ku1": "1.6 MJ/m3", "Keff": Keff})


def test_kinds_are_named_or_refused_with_the_choices() -> None:
    assert Knowledge.of({}, dmi="bulk", history="quenched").dmi == "bulk"
    with pytest.raises(UserError, match="dmi: 'bulky' is not known; choose one of interfacial, bulk"):
        Knowledge.of({}, dmi="bulky")


def test_draws_of_a_normal_value_stay_above_zero() -> None:
    """A truncated normal distribution: of 1 ± 1, the mean is 1 + φ(−1)/Φ(1) = 1.288."""
    draws = Normal(1.0, 1.0).draw(100_000, np.random.default_rng(0))
    assert draws.min() > 0
    assert draws.mean() == pytest.approx(1.288, abs=0.01)
