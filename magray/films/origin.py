"""Films that another program made: what stands in place of their protocol, and their ids.

Their inputs are not all known, so that no hash of inputs can name them: the id is a hash of the picture and of what is
known, and changes with either.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from magray.films.protocol import Protocol

ORIGIN = '{"origin":'  # begins the column `protocol` of an imported film
CONTENT = ("nx", "ny", "dx", "dy", "dz", "Ms", "Ku1", "Aex", "D", "dmi", "Hx", "Hy", "Hz", "open_edges", "demag")


@dataclass(frozen=True)
class Origin:
    """The program that made a film, in the column `protocol`, where films of magray have their protocol."""

    program: str

    def __str__(self) -> str:
        return f"made by {self.program}"

    def to_json(self) -> str:
        """Return canonical JSON, which `protocol_or_origin` reads."""
        return json.dumps({"origin": self.program}, separators=(",", ":"))


def is_origin(text: str) -> bool:
    """Return whether a film's column `protocol` names its origin instead."""
    return text.startswith(ORIGIN)


def protocol_or_origin(text: str) -> Protocol | Origin:
    """Return what a film's column `protocol` tells. Raises UserError for a text that magray has not written."""
    if is_origin(text):
        try:
            program = json.loads(text)["origin"]
        except (ValueError, RecursionError):
            program = None
        if isinstance(program, str) and Origin(program).to_json() == text:
            return Origin(program)
    return Protocol.from_json(text)


def content_id(row: Mapping[str, Any], picture: bytes) -> str:
    """Return the id of an imported film: 24 hexadecimal digits of the SHA-256 of its picture, origin and constants.

    row: of a store; its columns CONTENT and `protocol` count.
    """
    content = {name: row[name] for name in (*CONTENT, "protocol")}
    content |= {name: (value + 0.0).hex() for name, value in content.items() if isinstance(value, float)}
    content["picture"] = hashlib.sha256(picture).hexdigest()
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:24]
