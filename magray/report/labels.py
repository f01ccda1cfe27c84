"""Parameters in the units in which people read them."""

from dataclasses import dataclass

from magray.errors import UserError
from magray.estimator.metadata import in_practice
from magray.store.schema import STORE_SCHEMA


@dataclass(frozen=True)
class Quantity:
    """A parameter with the unit in which people read it: SI value × factor is in `unit`."""

    name: str
    factor: float
    unit: str

    @property
    def label(self) -> str:
        """Name and unit, as on an axis."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


def quantity(name: str) -> Quantity:
    """A column of the store in practical units. Raises UserError for a name that is none of a parameter."""
    metadata = STORE_SCHEMA.field(name).metadata if name in STORE_SCHEMA.names else None
    unit = (metadata or {}).get(b"unit")
    if unit is None:
        raise UserError(f"films have no parameter called {name!r}")
    return Quantity(name, *in_practice(unit.decode()))
