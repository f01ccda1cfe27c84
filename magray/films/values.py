"""Check the inputs of a film and turn them into plain Python numbers, every bit of which is part of its id.

Integers, NumPy's scalars and −0 become the same floats. Booleans, texts and arrays are refused as numbers.
"""

import math
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np

from magray.errors import UserError, shortened

LARGEST_INTEGER = 2**63 - 1


def number(value: object, name: str) -> float:
    """Return `value` as a float. Raises UserError, which begins with `name`, unless it is one finite number."""
    as_float = value if type(value) is float else _float(value)
    if math.isinf(as_float):
        raise UserError(f"{name} must be a finite number, not an infinite one")
    if math.isnan(as_float):
        raise UserError(f"{name} must be a finite number, not {shortened(value)}")
    return as_float or 0.0  # −0 becomes 0


def _float(value: object) -> float:
    """Return `value` as a float, which is infinite where it is too large, and NaN if it is no number."""
    try:
        return math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    except OverflowError:
        return math.inf


def whole(value: object, name: str, least: int, most: int) -> int:
    """Return `value` as an int. Raises UserError unless it is a whole number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, (int, Integral)):
        raise UserError(f"{name} must be a whole number, not {shortened(value)}")
    integer = int(value)
    if not least <= integer <= most:
        given = f", not {integer}" if abs(integer) < 2**64 else ""  # Python writes no integer of thousands of digits
        raise UserError(f"{name} must lie between {least} and {most}{given}")
    return integer


def sequence(values: object, name: str) -> tuple[Any, ...]:
    """Return the elements of `values`. Raises UserError unless they have an order, as in a list."""
    if not isinstance(values, (tuple, list)) and (
        isinstance(values, (str, set, dict)) or not isinstance(values, Iterable)
    ):
        raise UserError(f"{name}: give a list or a tuple, not {shortened(values)}")
    return tuple(values)


def elements(values: object, length: int, name: str, plain: Callable[[object], Any]) -> tuple[Any, ...]:
    """Return the `length` elements of `values`, each made `plain`. Raises UserError unless there are so many.

    Those that are plain already come back as they are: a million films of a plan share what they have in common.
    """
    found = sequence(values, name)
    if len(found) != length:
        raise UserError(f"{name} takes {length} numbers, not {len(found)}")
    made = tuple(plain(value) for value in found)
    return found if all(new is old for new, old in zip(made, found, strict=True)) else made


def truth(value: object, name: str) -> bool:
    """Return `value` as a bool. Raises UserError for all but True and False: the texts "no" and "false" are true."""
    if not isinstance(value, (bool, np.bool_)):
        raise UserError(f"{name} is True or False, not {shortened(value)}")
    return bool(value)


def instance(value: object, kind: type, name: str) -> None:
    """Raise UserError unless `value` is a `kind`."""
    if not isinstance(value, kind):
        raise UserError(f"{name}: give a {kind.__name__}, not {shortened(value)}")


def choice(value: object, choices: tuple[object, ...], name: str) -> None:
    """Raise UserError unless `value` is one of `choices`, which are texts."""
    if not isinstance(value, str) or value not in choices:
        raise UserError(f"{name} is one of {', '.join(map(str, choices))}, not {shortened(value)}")
