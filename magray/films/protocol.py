"""How a film gets its domains: an initial state and a list of stages.

The protocol is part of a film's identity: the same constants under another protocol are another film.
"""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from magray.errors import UserError

Initial = Literal["random", "up"]


@dataclass(frozen=True)
class Minimize:
    """Descend in energy until the largest torque max |m × h| / Ms is below `torque`.

    A film that needs more than `max_evaluations` field evaluations is returned as not converged.
    """

    torque: float = 1e-4
    max_evaluations: int = 20_000

    def __post_init__(self) -> None:
        if not (math.isfinite(self.torque) and 0 < self.torque < 1):
            raise UserError(f"minimize: torque is in units of Ms and lies between 0 and 1, not {self.torque}")
        if self.max_evaluations < 1:
            raise UserError(f"minimize: max_evaluations must be 1 or more, not {self.max_evaluations}")


@dataclass(frozen=True)
class Protocol:
    """`initial` "random": every cell its own uniformly distributed direction; "up": mz = 1 everywhere."""

    initial: Initial = "random"
    stages: tuple[Minimize, ...] = (Minimize(),)

    def __post_init__(self) -> None:
        if self.initial not in get_args(Initial):
            raise UserError(f"protocol: initial is one of {', '.join(get_args(Initial))}, not {self.initial!r}")
        if not self.stages:
            raise UserError("protocol: it has no stages; give at least one, such as minimize")

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces. The same protocol always gives the same text."""
        stages = [{"minimize": asdict(stage)} for stage in self.stages]
        return json.dumps({"initial": self.initial, "stages": stages}, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Protocol":
        """The protocol that `to_json` wrote."""
        data: dict[str, Any] = json.loads(text)
        return cls(data["initial"], tuple(Minimize(**stage["minimize"]) for stage in data["stages"]))
