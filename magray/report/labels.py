"""Label parameters, training sets and error measures the same way in every figure, table and page."""

from dataclasses import dataclass
from urllib.parse import quote

from magray.config import ScaleSet
from magray.errors import UserError
from magray.evaluation.study import TWO_NUMBERS
from magray.store.schema import STORE_SCHEMA
from magray.units import in_practice

ERRORS = {"mae": "MAE", "bias": "bias", "bias_low": "bias, low end", "bias_high": "bias, high end"}  # columns of STUDY


@dataclass(frozen=True)
class Quantity:
    """A parameter with its practical unit: SI value × factor is in `unit`."""

    name: str
    factor: float
    unit: str

    @property
    def label(self) -> str:
        """Return name and unit, as on an axis."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


def quantity(name: str) -> Quantity:
    """Return a column of the store in its practical unit. Raises UserError if `name` is no parameter."""
    metadata = STORE_SCHEMA.field(name).metadata if name in STORE_SCHEMA.names else None
    unit = (metadata or {}).get(b"unit")
    if unit is None:
        raise UserError(f"films have no parameter called {name!r}")
    return Quantity(name, *in_practice(unit.decode()))


def label(train_set: str) -> str:
    """Return a training set in words: "0.5+1.0" is "0.5, 1.0 µm", "0.5..2.0" is "0.5 to 2.0 µm, scale known"."""
    if train_set == TWO_NUMBERS:
        return "two numbers, no network"
    if ScaleSet.parse(train_set).is_range:
        return f"{train_set.replace('..', ' to ')} µm, scale known"
    return f"{train_set.replace('+', ', ')} µm"


def in_file_name(train_set: str) -> str:
    """Return a training set or another name as part of a file name, different for each."""
    return quote(train_set, safe="+")
