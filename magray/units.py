"""Read and write quantities such as "1500 kA/m" as SI numbers. A unit is never guessed."""

import math
import re
from dataclasses import dataclass
from decimal import Decimal, Overflow, localcontext

from magray.errors import UserError, shortened

MU0 = 4e-7 * math.pi  # vacuum permeability, T m/A (the value that µMAG and mumax3 use)
GAMMA0 = 1.7595e11 * MU0  # m/(A s); the value of the µMAG standard problems
BOLTZMANN = 1.380649e-23  # J/K


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity: the units that it accepts, of which `si` is the first, and an example for messages."""

    si: str
    factors: dict[str, Decimal]
    example: str


def _dimension(example: str, **factors: str) -> Dimension:
    units = {name.replace("_per_", "/"): Decimal(factor) for name, factor in factors.items()}
    return Dimension(next(iter(units)), units, example)


DIMENSIONS = {
    "length": _dimension("4 nm", m="1", um="1e-6", nm="1e-9"),
    "magnetisation": _dimension("1500 kA/m", A_per_m="1", kA_per_m="1e3", MA_per_m="1e6"),
    "anisotropy": _dimension("1.6 MJ/m3", J_per_m3="1", kJ_per_m3="1e3", MJ_per_m3="1e6"),
    "exchange": _dimension("31 pJ/m", J_per_m="1", pJ_per_m="1e-12"),
    "dmi": _dimension("0.5 mJ/m2", J_per_m2="1", mJ_per_m2="1e-3"),
    "field": _dimension("100 mT", A_per_m="1", kA_per_m="1e3", MA_per_m="1e6", T="1", mT="1e-3"),
    "time": _dimension("2 ns", s="1", ns="1e-9", ps="1e-12", fs="1e-15"),
    "temperature": _dimension("300 K", K="1"),
    "angle": _dimension("12 deg", rad="1", deg="0.017453292519943295"),
    "induction": _dimension("20 uT", T="1", mT="1e-3", uT="1e-6"),
    "stiffness": _dimension("50 uN/m", N_per_m="1", mN_per_m="1e-3", uN_per_m="1e-6"),
    "pole": _dimension("1 nAm", Am="1", nAm="1e-9"),
    "ratio": Dimension("", {"": Decimal(1)}, "0.1"),
}
_PRACTICAL = {
    "A/m": (1e-3, "kA/m"),
    "J/m3": (1e-6, "MJ/m³"),
    "J/m": (1e12, "pJ/m"),
    "J/m2": (1e3, "mJ/m²"),
    "m": (1e9, "nm"),
}
_TESLA = ("T", "mT")  # of a field: µ0 H, so divided by µ0 to give A/m
_WRITTEN = re.compile(r"\s*([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,9})?)\s*(\S*)\s*")
_LONGEST = 100  # characters of a quantity
_SPELLINGS = str.maketrans({"²": "2", "³": "3", "µ": "u", "μ": "u"})


def parse_quantity(text: object, dimension: str, name: str) -> float:
    """Return the SI value of `text`, a quantity of `dimension` (a key of DIMENSIONS). `name` begins messages.

    The product of number and prefix is rounded once: "31 pJ/m" is the float 31e-12 exactly, so that a film has the
    same id whether YAML or Python made it. Raises UserError unless there is a finite number with a unit that fits.
    """
    kind = DIMENSIONS[dimension]
    readable = isinstance(text, str | int | float) and not isinstance(text, bool)
    written = _WRITTEN.fullmatch(str(text)[: _LONGEST + 1]) if readable else None
    if written is None or len(written[0]) > _LONGEST:
        raise UserError(f"{name}: {shortened(text)} is not a quantity; write for example {kind.example}")
    number, unit = written[1], written[2].translate(_SPELLINGS).replace("^", "")
    if not unit and kind.si:
        raise UserError(f"{name}: {text} has no unit; write for example {kind.example}")
    if unit not in kind.factors:
        accepted = ", ".join(kind.factors) if kind.si else "none, it is a plain number"
        raise UserError(f"{name}: unit {written[2]} does not fit; accepted: {accepted}")
    value = _product(Decimal(number), kind.factors[unit]) / (MU0 if dimension == "field" and unit in _TESLA else 1)
    if math.isinf(value):
        raise UserError(f"{name}: {text} is too large")
    if value == 0 and Decimal(number) != 0:
        raise UserError(f"{name}: {text} is too small; write 0 if you mean it")
    return value


def _product(number: Decimal, factor: Decimal) -> float:
    """Return the nearest float: 0 or infinite where the product lies beyond all of them."""
    with localcontext() as context:
        context.traps[Overflow] = False
        return float(number * factor)


def in_si(value: float, dimension: str) -> str | float:
    """Return `value` with its SI unit, from which `parse_quantity` gives exactly `value` back."""
    unit = DIMENSIONS[dimension].si
    return f"{value!r} {unit}" if unit else value


def in_practice(unit: str) -> tuple[float, str]:
    """Return the factor from an SI unit to its practical unit, and the name of that unit."""
    return _PRACTICAL.get(unit, (1.0, "" if unit == "1" else unit))


def practical(value: float, error: float | None, unit: str) -> str:
    """Return a value with its error in practical units, such as "0.52 ± 0.04 mJ/m²"."""
    factor, practical_unit = in_practice(unit)
    bar = "" if error is None else f" ± {_digits(error * factor, 2)}"
    return f"{_digits(value * factor, 3)}{bar} {practical_unit}".rstrip()


def _digits(value: float, count: int) -> str:
    """Return a number with at least `count` significant digits, without an exponent up to a million."""
    return f"{value:.{count}g}" if abs(value) < 10**count - 0.5 or abs(value) > 1e6 else f"{value:.0f}"
