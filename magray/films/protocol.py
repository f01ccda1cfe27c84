"""A protocol: the initial state of a film, and the stages that give it its domains.

The protocol is part of a film's identity: the same constants under another protocol are another film.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

from magray.errors import UserError, shortened
from magray.films.values import choice, elements, number, sequence, whole

Vector = tuple[float, float, float]

STRONGEST_FIELD = 1e9  # A/m, more than 1000 T
MOST_EVALUATIONS = 1_000_000_000  # weeks of the smallest film; GPUs count to 2³¹
MOST_STAGES = 1000


def field_vector(values: object, name: str = "field") -> Vector:
    """Return an applied field, A/m. Raises UserError unless it is three numbers up to STRONGEST_FIELD."""
    field = _vector(values, name)
    if max(map(abs, field)) > STRONGEST_FIELD:
        raise UserError(f"{name} must lie between -{STRONGEST_FIELD:g} and {STRONGEST_FIELD:g} A/m, not {field}")
    return field


def _vector(values: object, name: str) -> Vector:
    vector: Vector = elements(values, 3, name, lambda value: number(value, name))
    return vector


def _of_stage(field: object) -> Vector | None:
    return None if field is None else field_vector(field, "protocol: field")


@dataclass(frozen=True)
class Uniform:
    """An initial state: m along `direction`, with normally distributed tilts of about `noise` rad in each cell.

    `noise` may be 0, but a film that starts exactly along a symmetry axis stays there, even on a maximum of its energy.
    """

    direction: Vector
    noise: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "direction", _vector(self.direction, "protocol: direction"))
        object.__setattr__(self, "noise", number(self.noise, "protocol: noise"))
        if not 1e-100 < math.hypot(*self.direction) < 1e100:
            raise UserError("protocol: uniform takes a direction that is not 0, 0, 0 and has a length below 1e100")
        if not 0 <= self.noise <= 1:
            raise UserError(f"protocol: noise is an angle between 0 and 1 rad, not {self.noise}")

    def __str__(self) -> str:
        return f"uniform along {_components(self.direction)}, tilted by {self.noise:g} rad"


Initial = Literal["random"] | Uniform


@dataclass(frozen=True)
class Minimize:
    """A stage that descends in energy until the largest torque max |m × h| / Ms is below `torque`.

    A film that needs more than `max_evaluations` field evaluations is returned as not converged.
    field: applied during this stage in place of the film's own, A/m.
    """

    torque: float = 1e-4
    max_evaluations: int = 20_000
    field: Vector | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "torque", number(self.torque, "minimize: torque"))
        most = whole(self.max_evaluations, "minimize: max_evaluations", 1, MOST_EVALUATIONS)
        object.__setattr__(self, "max_evaluations", most)
        object.__setattr__(self, "field", _of_stage(self.field))
        if not 0 < self.torque < 1:
            raise UserError(f"minimize: torque is in units of Ms and lies between 0 and 1, not {self.torque}")

    def __str__(self) -> str:
        return f"minimised to {self.torque:g} Ms{_in_field(self.field)}"


@dataclass(frozen=True)
class Quench:
    """A stage of LLG dynamics with the damping `alpha` for `duration` (s) at `temperature` (K).

    Above 0 K each cell feels a stochastic field (Brown, Phys. Rev. 130, 1677, 1963).
    field: applied during this stage in place of the film's own, A/m.
    """

    alpha: float
    duration: float
    temperature: float = 0.0
    field: Vector | None = None

    def __post_init__(self) -> None:
        for name in ("alpha", "duration", "temperature"):  # 300 and 300.0 K are one film
            object.__setattr__(self, name, number(getattr(self, name), f"quench: {name}"))
        if not 0 < self.alpha <= 100:
            raise UserError(f"quench: alpha lies above 0, up to 100, not {self.alpha}")
        if not 1e-18 <= self.duration <= 1e-3:
            raise UserError(f"quench: duration lies between 1e-18 s and 1 ms, not {self.duration}")
        if self.temperature != 0 and not 1e-9 <= self.temperature <= 1e4:
            raise UserError(f"quench: temperature is 0 or lies between 1e-9 and 10000 K, not {self.temperature}")
        object.__setattr__(self, "field", _of_stage(self.field))

    def __str__(self) -> str:
        warm = f" and {self.temperature:g} K" if self.temperature else ""
        return f"{self.duration * 1e9:g} ns at α {self.alpha:g}{warm}{_in_field(self.field)}"


Stage = Minimize | Quench
STAGES: dict[str, type[Stage]] = {"minimize": Minimize, "quench": Quench}


@dataclass(frozen=True)
class Protocol:
    """An initial state and stages, each of which begins where the one before it ended.

    The initial state "random" draws a direction for every cell, uniformly on the sphere.
    """

    initial: Initial = "random"
    stages: tuple[Stage, ...] = (Minimize(),)

    def __post_init__(self) -> None:
        if not isinstance(self.initial, Uniform):
            choice(self.initial, ("random",), "protocol: initial, unless it is a Uniform,")
        object.__setattr__(self, "stages", sequence(self.stages, "protocol: stages"))
        if not self.stages:
            raise UserError("protocol: it has no stages; give at least one, such as minimize")
        if len(self.stages) > MOST_STAGES:
            raise UserError(f"protocol: it has {len(self.stages):,} stages, more than {MOST_STAGES:,}")
        for stage in self.stages:
            if type(stage) not in STAGES.values():
                raise UserError(f"protocol: a stage is Minimize or Quench, not {shortened(stage)}")

    def __str__(self) -> str:
        """Return the protocol in words, such as "start: random; minimised to 0.0001 Ms"."""
        return "; ".join(map(str, (f"start: {self.initial}", *self.stages)))

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no spaces, no field where a stage has none. Film ids depend on it."""
        initial = asdict(self.initial) if isinstance(self.initial, Uniform) else self.initial
        stages = [{name: _settings(stage)} for stage in self.stages for name in STAGES if type(stage) is STAGES[name]]
        return json.dumps({"initial": initial, "stages": stages}, sort_keys=True, separators=(",", ":"))

    @classmethod
    @lru_cache(maxsize=64)  # the rows of a plan have the same few
    def from_json(cls, text: str) -> "Protocol":
        """Return the protocol that `to_json` wrote. Raises UserError for another text."""
        try:
            data: dict[str, Any] = json.loads(text)
            initial = Uniform(**data["initial"]) if isinstance(data["initial"], dict) else data["initial"]
            named = [pair for stage in data["stages"] for pair in stage.items()]
            return cls(initial, tuple(STAGES[name](**settings) for name, settings in named))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UserError(f"protocol: {shortened(text)} is none; take it from a plan that magray wrote") from error


def _in_field(field: Vector | None) -> str:
    return "" if field is None else f" in {_components([component * 1e-3 for component in field])} kA/m"


def _components(vector: Sequence[float]) -> str:
    return ", ".join(f"{component:g}" for component in vector)


def _settings(stage: Stage) -> dict[str, Any]:
    return {name: value for name, value in asdict(stage).items() if value is not None}
