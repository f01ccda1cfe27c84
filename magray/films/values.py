"""Check what people give a film, and turn it into plain Python numbers: an id follows from every bit of them.

Whole numbers, NumPy's scalars and −0 become the same floats. Truth values, texts and arrays are no numbers.
"""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from reprlib import Repr
from typing import Any

import numpy as np

from magray.errors import UserError

shortened = Repr().repr  # of a value, for a message of one line
LARGEST_INTEGER = 2**63 - 1


def number(value: object, name: str) -> float:
    """Return `value` as a float. Raises UserError, which begins with `name`, unless it is one finite number."""
    try:
        as_float = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    except OverflowError:
        raise UserError(f"{name} must be a finite number, not one above 1e308") from None
    if not math.isfinite(as_float):
        raise UserError(f"{name} must be a finite number, not {shortened(value)}")
    return as_float + 0.0  # −0 becomes 0


def whole(value: object, name: str, least: int, most: int) -> int:
    """Return `value` as an int. Raises UserError unless it is a whole number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise UserError(f"{name} must be a whole number, not {shortened(value)}")
    integer = int(value)
    if not least <= integer <= most:
        given = f", not {integer}" if abs(integer) < 2**64 else ""  # Python writes no integer of thousands of digits
        raise UserError(f"{name} must lie between {least} and {most}{given}")
    return integer


def sequence(values: object, name: str) -> tuple[Any, ...]:
    """Return the elements of `values`. Raises UserError unless it has some order, as a list has."""
    if isinstance(values, (str, set, dict)) or not isinstance(values, Iterable):
        raise UserError(f"{name}: give a list or a tuple, not {shortened(values)}")
    return tuple(values)


def elements(values: object, length: int, name: str) -> tuple[Any, ...]:
    """Return the elements of `values`. Raises UserError unless there are `length` of them."""
    found = sequence(values, name)
    if len(found) != length:
        raise UserError(f"{name} takes {length} numbers, not {len(found)}")
    return found


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
