"""Training sets: scales, or a range of them."""

import pytest

from magray.config import is_range, parse_scales
from magray.errors import UserError


def test_scale_sets_are_read_in_any_order() -> None:
    assert parse_scales("1.0+0.25 + 0.5") == (0.25, 0.5, 1.0)
    for text in ("", "0", "-1", "nan", "inf", "0.5+", "0.5,1"):
        with pytest.raises(UserError, match="not a set of scales"):
            parse_scales(text)


def test_a_range_of_scales_is_its_two_ends() -> None:
    assert parse_scales("0.5..2") == (0.5, 2.0)
    assert is_range("0.5..2.0")
    assert not is_range("0.5+2.0")
    for text in ("0.5..", "0.5..1..2", "1..1", "0.5..1+2"):
        with pytest.raises(UserError, match=r"not a (set|range) of scales"):
            parse_scales(text)
