"""Gather what is known of a film that another program made."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace

from magray.errors import UserError
from magray.films.film import Dmi, OpenEdges
from magray.units import parse_quantity

Vector = tuple[float, float, float]
_DIMENSIONS = {"Ms": "magnetisation", "Ku1": "anisotropy", "Aex": "exchange", "D": "dmi"}
NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"


@dataclass(frozen=True)
class Known:
    """Constants of a film, SI; None where nobody tells. field: applied, A/m."""

    Ms: float | None = None
    Ku1: float | None = None
    Aex: float | None = None
    D: float | None = None
    dmi: Dmi | None = None
    field: Vector | None = None
    open_edges: OpenEdges | None = None
    demag: bool | None = None

    def over(self, other: "Known") -> "Known":
        """Return what is known when `other` tells what this one does not."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(other, **{name: value for name, value in told.items() if value is not None})


def known_from_texts(constants: Mapping[str, str | None], dmi: Dmi | None, field: str | None) -> Known:
    """Return what options tell: quantities by name, the kind of DMI, and the field as three quantities with commas.

    Raises UserError for what is no quantity.
    """
    told = {name: parse_quantity(text, _DIMENSIONS[name], name) for name, text in constants.items() if text}
    known = Known(told.get("Ms"), told.get("Ku1"), told.get("Aex"), told.get("D"), dmi)
    if field is None:
        return known
    parts = [parse_quantity(part, "field", "field") for part in field.split(",")]
    if len(parts) != 3:
        raise UserError(f'field: give three quantities with commas between them, as "0 T, 0 T, 20 mT", not {field}')
    return replace(known, field=(parts[0], parts[1], parts[2]))


def agreed(values: Iterable[str]) -> float | None:
    """Return the number that all texts give; None if they differ, or any is no plain number, or there is none."""
    found = set(values)
    if not all(re.fullmatch(NUMBER, value) for value in found):
        return None
    numbers = {float(value) for value in found}
    return numbers.pop() if len(numbers) == 1 else None
