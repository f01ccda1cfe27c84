"""A user's knowledge of a film: constants as values, values with errors, or ranges; kind of DMI, and history.

    "1.20 MA/m"    "1.20 ± 0.05 MA/m"    "1.20 +- 0.05 MA/m"    "6 nm +/- 5 %"    "10..20 pJ/m"

A value with an error is a normal distribution, cut off at zero; a range is a uniform one.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from magray.errors import UserError, shortened
from magray.films.design import HISTORIES, KINDS, History
from magray.films.film import Dmi
from magray.films.reduced import effective_anisotropy, stray_energy
from magray.imaging.instruments import RANGES, REFUSED, RESOLUTIONS
from magray.units import DIMENSIONS, MU0, parse_quantity, practical

Array = NDArray[np.float64]
Choice = TypeVar("Choice", bound=str)
Instrument = Literal["none", "microscope", "kerr", "mfm", "peem", "stxm", "sempa", "nv"]
INSTRUMENTS: tuple[Instrument, ...] = get_args(Instrument)
NOT_TOLD: Instrument = "microscope"  # what a picture is taken for whose instrument is not told

CONTRADICTION = 3.0  # standard deviations between constants that describe one film
ROUNDING = 0.02  # relative, of constants that are given without errors
_ERROR = re.compile(r"\s*(?:±|\+/?-)\s*")
_LONGEST = 200  # characters of what is known of a constant


@dataclass(frozen=True)
class Normal:
    """A value with its standard error, SI; error 0 for an exact one."""

    mean: float
    error: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.error)):
            raise UserError(f"{self.mean:g} ± {self.error:g}: give finite numbers")
        if self.error < 0:
            raise UserError(f"{self.mean:g} ± {self.error:g}: an error is not negative")

    @property
    def low(self) -> float:
        """The smallest value that is to be expected: three standard errors below."""
        return self.mean - 3 * self.error

    @property
    def high(self) -> float:
        """The largest value that is to be expected: three standard errors above."""
        return self.mean + 3 * self.error

    @property
    def spread(self) -> float:
        """The standard deviation."""
        return self.error

    def draw(self, count: int, random: np.random.Generator) -> Array:
        """Return `count` draws above zero."""
        if self.error == 0:
            return np.full(count, self.mean)
        below_zero = ndtr(-self.mean / self.error)
        part = below_zero + (1 - below_zero) * random.uniform(1e-12, 1 - 1e-12, count)
        return np.asarray(np.maximum(self.mean + self.error * ndtri(part), 1e-12 * self.mean))

    def log_density(self, values: Array) -> Array:
        """Return the logarithm of the density at `values`, up to a constant; all are as good for an exact value."""
        if self.error == 0:
            return np.zeros_like(values)
        return -0.5 * ((values - self.mean) / self.error) ** 2


@dataclass(frozen=True)
class Range:
    """Any value from `low` to `high`, SI, all equally likely."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise UserError(f"{self.low:g}..{self.high:g}: give a range of finite numbers, the smaller one first")

    @property
    def mean(self) -> float:
        """The middle of the range."""
        return (self.low + self.high) / 2

    @property
    def spread(self) -> float:
        """The standard deviation."""
        return (self.high - self.low) / math.sqrt(12)

    def draw(self, count: int, random: np.random.Generator) -> Array:
        """Return `count` draws."""
        return random.uniform(self.low, self.high, count)

    def log_density(self, values: Array) -> Array:
        """Return the logarithm of the density at `values`, up to a constant."""
        return np.where((self.low <= values) & (values <= self.high), 0.0, -np.inf)


Known = Normal | Range


@dataclass(frozen=True)
class Constant:
    """A constant that can be known: its dimension, SI unit, and the smallest and largest value of any film."""

    dimension: str
    low: float
    high: float

    @property
    def unit(self) -> str:
        """The SI unit."""
        return DIMENSIONS[self.dimension].si


CONSTANTS = {
    "Ms": Constant("magnetisation", 1e4, 3e6),
    "Ku1": Constant("anisotropy", 1e3, 2e7),
    "Keff": Constant("anisotropy", 1e2, 2e7),
    "Hk": Constant("field", 1e-3 / MU0, 30 / MU0),
    "Aex": Constant("exchange", 1e-13, 1e-10),
    "D": Constant("dmi", 0.0, 2e-2),
    "thickness": Constant("length", 1e-10, 1e-6),
}
ANISOTROPIES = ("Keff", "Hk", "Ku1")  # of those that are given, the first decides and the others must agree


@dataclass(frozen=True)
class Knowledge:
    """All that is known of a film: its constants by name (of CONSTANTS), and kinds that are None if unknown.

    resolution: the instrument's, m, if it is known.
    """

    constants: Mapping[str, Known]
    dmi: Dmi | None = None
    history: History | None = None
    instrument: Instrument | None = None
    resolution: float | None = None

    @classmethod
    def of(
        cls,
        constants: Mapping[str, object],
        dmi: str | None = None,
        history: str | None = None,
        instrument: str | None = None,
        resolution_nm: float | None = None,
    ) -> "Knowledge":
        """Return what a user says: numbers (SI), texts, `Normal` and `Range` by constant, and kinds by their names.

        Raises UserError for what no film has, and for constants that contradict each other.
        """
        known = {name: known_of(value, name) for name, value in constants.items() if value is not None}
        for name, one in known.items():
            _check_constant(name, one)
        _check_anisotropy(known)
        if instrument in REFUSED:
            raise UserError(f"instrument: {REFUSED[instrument]}; take a picture with one of {', '.join(RANGES)}")
        return cls(
            known,
            _choice(dmi, "dmi", KINDS),
            _choice(history, "history", HISTORIES),
            _choice(instrument, "instrument", INSTRUMENTS),
            None if resolution_nm is None else _resolution(resolution_nm, instrument),
        )

    @property
    def anisotropy(self) -> str | None:
        """The name of the anisotropy that decides: Keff, Hk or Ku1."""
        return next((name for name in ANISOTROPIES if name in self.constants), None)

    def frozen(self, values: Mapping[str, float]) -> "Knowledge":
        """Return the same knowledge with the constants in `values` (SI) known exactly.

        An anisotropy in it replaces all that are known of anisotropies.
        """
        replaced = set(values) | (set(ANISOTROPIES) if set(values) & set(ANISOTROPIES) else set())
        kept = {name: known for name, known in self.constants.items() if name not in replaced}
        exact: dict[str, Known] = {name: Normal(value) for name, value in values.items()}
        return replace(self, constants=kept | exact)


def _resolution(resolution_nm: float, instrument: str | None) -> float:
    if instrument not in RESOLUTIONS:
        raise UserError(f"resolution, lift or height: tell the instrument too, one of {', '.join(RESOLUTIONS)}")
    if not (math.isfinite(resolution_nm) and resolution_nm > 0):
        raise UserError(f"{RESOLUTIONS[instrument]}: {resolution_nm:g} nm is no length; give nanometres above 0")
    return resolution_nm * 1e-9


def _choice(value: str | None, name: str, choices: tuple[Choice, ...]) -> Choice | None:
    """Return one of the choices, or None. Raises UserError for another value."""
    for choice in choices:
        if value == choice:
            return choice
    if value is not None:
        raise UserError(f"{name}: {shortened(value)} is not known; choose one of {', '.join(choices)}")
    return None


def parse_known(text: str, name: str) -> Known:
    """Return what `text` says of the constant `name`, such as "1.20 ± 0.05 MA/m" or "10..20 pJ/m".

    Raises UserError, with an example, for anything else.
    """
    _check_name(name)
    text = text.strip()
    if not text or len(text) > _LONGEST:
        raise UserError(f"{name}: {shortened(text)} is not a quantity; write for example {_example(name)}")
    parts = _ERROR.split(text)
    if len(parts) == 2:
        return _parse_with_error(parts[0], parts[1], name)
    if len(parts) == 1 and ".." in text:
        return _parse_range(text, name)
    if len(parts) > 2:
        raise UserError(f"{name}: {shortened(text)} has more than one ±; write for example {_example(name)}")
    return Normal(_parse(text, name))


def known_of(value: object, name: str) -> Known:
    """Return what is known of a constant, given as a number (SI), a text, a `Normal` or a `Range`.

    The sign of D is dropped.
    """
    _check_name(name)
    known = _known_of(value, name)
    return Normal(abs(known.mean), known.error) if name == "D" and isinstance(known, Normal) else known


def _known_of(value: object, name: str) -> Known:
    if isinstance(value, Normal | Range):
        return value
    if isinstance(value, str):
        return parse_known(value, name)
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise UserError(f"{name}: give a number (SI), a text, magray.Normal or magray.Range, not {shortened(value)}")
    return Normal(float(value))


def _parse_with_error(value: str, error: str, name: str) -> Normal:
    number, unit = _split_unit(value)
    margin, error_unit = _split_unit(error)
    if error_unit == "%":
        mean = _parse(value, name)
        return Normal(mean, _not_negative(abs(mean) * _plain(margin, name) / 100, name, error))
    mean = _parse(f"{number} {unit or error_unit}", name)
    return Normal(mean, _not_negative(_parse(f"{margin} {error_unit or unit}", name), name, error))


def _parse_range(text: str, name: str) -> Range:
    first, _, last = text.partition("..")
    low, low_unit = _split_unit(first)
    high, high_unit = _split_unit(last)
    ends = _parse(f"{low} {low_unit or high_unit}", name), _parse(f"{high} {high_unit or low_unit}", name)
    if not ends[0] < ends[1]:
        raise UserError(f"{name}: {text} is no range; write the smaller end first, as in 10..20 pJ/m")
    return Range(*ends)


def _parse(text: str, name: str) -> float:
    return parse_quantity(text.strip(), CONSTANTS[name].dimension, name)


def _plain(text: str, name: str) -> float:
    return parse_quantity(text, "ratio", name)


def _not_negative(error: float, name: str, written: str) -> float:
    if error < 0:
        raise UserError(f"{name}: the error {written.strip()} is negative; an error has no sign")
    return error


def _split_unit(text: str) -> tuple[str, str]:
    """Return the number and the unit of a quantity; the unit is empty if there is none."""
    found = re.fullmatch(r"\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]{1,9})?)\s*(\S*)\s*", text)
    return (found[1], found[2]) if found else (text, "")


def _example(name: str) -> str:
    example = DIMENSIONS[CONSTANTS[name].dimension].example
    number, unit = example.split()
    return f"{example}, {number} ± {0.1 * float(number):g} {unit} or {number}..{2 * float(number):g} {unit}"


def _check_name(name: str) -> None:
    if name not in CONSTANTS:
        raise UserError(f"{shortened(name)} is no constant of a film; known are {', '.join(CONSTANTS)}")


def _check_constant(name: str, known: Known) -> None:
    """Raise UserError unless a film can have this value; if a thousand times more or less could be meant, say so."""
    limits, unit = CONSTANTS[name], CONSTANTS[name].unit
    value = known.high if isinstance(known, Range) else known.mean
    if isinstance(known, Range) and known.low < 0:
        raise UserError(f"{name}: a range begins at 0 or above, not at {known.low:g} {unit}")
    if limits.low <= value <= limits.high:
        return
    if name == "Keff" and value <= 0:
        raise UserError(f"Keff: {value:g} J/m3 is not above 0, so the film lies in the plane and has no such domains")
    side = "more than any film has" if value > limits.high else "less than any film has"
    fits = next((factor for factor in (1e-3, 1e3, 1e-6, 1e6) if limits.low < value * factor <= limits.high), None)
    meant = f"was {practical(value * fits, None, unit)} meant?" if fits else f"check its unit, {unit}"
    raise UserError(f"{name}: {value:g} {unit} is {side}; {meant}")


def _check_anisotropy(constants: Mapping[str, Known]) -> None:
    """Raise UserError if the film lies in the plane, or if Ku1, Keff and Hk contradict each other or Ms."""
    if "Ms" not in constants:
        return
    Ms = constants["Ms"]
    found = {name: _effective(name, constants[name], Ms) for name in ANISOTROPIES if name in constants}
    for name, (Keff, error) in found.items():
        if Keff + CONTRADICTION * error <= 0:
            raise UserError(
                f"Ku1 and Ms give Keff = {Keff:.3g} J/m3, not above 0: the film lies in the plane, or one is wrong"
                if name == "Ku1"
                else f"{name} is not above 0: the film lies in the plane"
            )
    names = list(found)
    for one, other in ((a, b) for i, a in enumerate(names) for b in names[i + 1 :]):
        (first, error), (second, other_error) = found[one], found[other]
        unit = stray_energy(Ms.mean) if "Ku1" in (one, other) else 0.0
        allowed = max(CONTRADICTION * math.hypot(error, other_error), ROUNDING * (max(first, second) + unit))
        if abs(first - second) > allowed:
            raise UserError(
                f"{one} and {other} contradict each other: with this Ms they give Keff = {first:.3g} and "
                f"{second:.3g} J/m3; give one of them, or larger errors"
            )


def _effective(name: str, known: Known, Ms: Known) -> tuple[float, float]:
    """Return Keff, J/m³, and its standard error as they follow from one anisotropy and Ms."""
    if name == "Keff":
        return known.mean, known.spread
    if name == "Hk":
        Keff = MU0 * known.mean * Ms.mean / 2
        return Keff, Keff * math.hypot(known.spread / known.mean, Ms.spread / Ms.mean)
    slope = MU0 * Ms.mean  # of ½ µ0 Ms²
    return effective_anisotropy(Ms.mean, known.mean), math.hypot(known.spread, slope * Ms.spread)
