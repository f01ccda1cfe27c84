"""Sets of training scales."""

import pytest

from magray.config import ScaleSet
from magray.errors import UserError


def test_scale_sets_are_read_in_any_order() -> None:
    assert ScaleSet.parse("1.0+0.25 + 0.5").scales_um == (0.25, 0.5, 1.0)
    assert ScaleSet.parse("1.0+0.5") == ScaleSet.parse("0.50+1") == ScaleSet.of([1.0, 0.5])
    for text in ("", "0", "-1", "nan", "inf", "0.5+", "0.5,1"):
        with pytest.raises(UserError, match="not a set of scales"):
            ScaleSet.parse(text)


def test_a_scale_set_is_written_as_it_was_read() -> None:
    assert str(ScaleSet.parse("1.0+0.25")) == "1.0+0.25"
    assert str(ScaleSet.of([1.0, 0.25])) == "0.25+1"


def test_a_range_of_scales_is_its_two_ends() -> None:
    scales = ScaleSet.parse("0.5..2")
    assert (scales.scales_um, scales.is_range) == ((0.5, 2.0), True)
    assert not ScaleSet.parse("0.5+2.0").is_range
    for text in ("0.5..", "0.5..1..2", "1..1", "0.5..1+2"):
        with pytest.raises(UserError, match=r"not a (set|range) of scales"):
            ScaleSet.parse(text)


def test_a_range_contains_what_lies_in_it_and_a_set_only_its_scales() -> None:
    assert ScaleSet.parse("0.5..2").contains(0.9)
    assert not ScaleSet.parse("0.5..2").contains(2.2)
    assert ScaleSet.parse("0.512+2.048").contains(2.0)  # with a micrometre of 1000 nm
    assert not ScaleSet.parse("0.5+2").contains(0.9)
