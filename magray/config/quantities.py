"""Describe quantities of a config for its JSON Schema: a number and one of the units of its dimension."""

from typing import Any

from pydantic import WithJsonSchema

from magray.units import DIMENSIONS

DIMENSION = "x-dimension"  # names the dimension to `json_schema`, which turns it into words

_NUMBER = r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,9})?"
_SPELLINGS = {"u": "[uµμ]", "2": r"\^?[2²]", "3": r"\^?[3³]"}  # as `parse_quantity` takes them


def quantity(dimension: str) -> WithJsonSchema:
    """Return the schema of one quantity."""
    return WithJsonSchema(_one(dimension) | {DIMENSION: dimension})


def quantities(dimension: str, count: int | None = None) -> WithJsonSchema:
    """Return the schema of a list of quantities: of `count`, or of any number."""
    return WithJsonSchema(_several(dimension, count) | {DIMENSION: dimension})


def quantity_or_range(dimension: str) -> WithJsonSchema:
    """Return the schema of one quantity, or of {uniform: [low, high]}."""
    ends = {"uniform": _several(dimension, 2)}
    drawn = {"type": "object", "properties": ends, "required": ["uniform"], "additionalProperties": False}
    return WithJsonSchema({"anyOf": [_one(dimension), drawn], DIMENSION: dimension})


def _one(dimension: str) -> dict[str, Any]:
    kind = DIMENSIONS[dimension]
    if not kind.si:
        return {"type": "number"}
    return {"type": "string", "pattern": rf"^\s*{_NUMBER}\s*({_units(dimension)})\s*$", "examples": [kind.example]}


def _several(dimension: str, count: int | None) -> dict[str, Any]:
    size = {} if count is None else {"minItems": count, "maxItems": count}
    return {"type": "array", "items": _one(dimension), **size}


def _units(dimension: str) -> str:
    """Return the alternatives of a pattern, each spelling of each unit."""
    units = DIMENSIONS[dimension].factors
    return "|".join("".join(_SPELLINGS.get(letter, letter) for letter in unit) for unit in units)
