"""The JSON Schema of every kind of config, by which editors complete and check the YAML.

It follows from the models: keys, types, choices, defaults, and the units that a quantity may have. It says less than
`magray plan`, which knows what a film can be.
"""

from typing import Any, Literal

from pydantic import BaseModel

from magray.config.design import DesignedConfig
from magray.config.figure import FigureConfig
from magray.config.project import Config
from magray.config.protocols import ProtocolsConfig
from magray.config.quantities import DIMENSION
from magray.config.scale_cues import ScaleCuesConfig
from magray.config.search import SearchConfig
from magray.units import DIMENSIONS, in_si

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Kind = Literal["project", "design", "search", "protocols", "scale-cues", "figure"]
MODELS: dict[str, type[BaseModel]] = {
    "project": Config,
    "design": DesignedConfig,
    "search": SearchConfig,
    "protocols": ProtocolsConfig,
    "scale-cues": ScaleCuesConfig,
    "figure": FigureConfig,
}


def json_schema(kind: Kind) -> dict[str, Any]:
    """Return the JSON Schema of a kind of config. Descriptions tell units and defaults."""
    schema = MODELS[kind].model_json_schema()
    for section in (schema, *schema.get("$defs", {}).values()):
        for key in section.get("properties", {}).values():
            _describe(key)
    return {"$schema": DIALECT, **schema, "title": f"magray: {kind}"}


def _describe(key: dict[str, Any]) -> None:
    """Add the units and the default to the description of a key, and write the default as a config does."""
    key.pop("title", None)
    parts = [key["description"]] if "description" in key else []
    dimension = key.pop(DIMENSION, None)
    if dimension is not None and DIMENSIONS[dimension].si:
        parts.append(f"Units: {', '.join(DIMENSIONS[dimension].factors)}.")
    if key.get("default") is not None:
        key["default"] = _written(key["default"], dimension)
        if "$ref" not in key:  # a section, whose own keys tell their defaults
            parts.append(f"Default: {_shown(key['default'])}.")
    if parts:
        key["description"] = " ".join(parts)


def _written(default: Any, dimension: str | None) -> Any:
    """Return a default as it stands in YAML: a quantity with its SI unit."""
    if dimension is None:
        return default
    return [in_si(value, dimension) for value in default] if isinstance(default, list) else in_si(default, dimension)


def _shown(default: Any) -> str:
    if isinstance(default, list):
        return f"[{', '.join(map(_shown, default))}]"
    return str(default).lower() if isinstance(default, bool) else str(default)
