"""A protocol: the initial state of a film, and the stages that give it its domains.

The protocol is part of a film's identity: the same constants under another protocol are another film.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Literal

from magray.errors import UserError, shortened
from magray.films.values import choice, elements, number, sequence, whole

Vector = tuple[float, float, float]

STRONGEST_FIELD = 1e9  # A/m, more than 1000 T
MOST_EVALUATIONS = 1_000_000_000  # weeks of the smallest film; GPUs count to 2³¹
MOST_STAGES = 1000
MOST_FIELDS = 10_000  # of a stage, and of all stages of a protocol together


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
        _set_direction(self, "protocol", "uniform")

    def __str__(self) -> str:
        return f"uniform along {_components(self.direction)}, tilted by {self.noise:g} rad"


def _set_direction(owner: "Uniform | Demagnetise | Sweep", prefix: str, kind: str) -> None:
    """Convert `direction` and `noise` to plain floats. Raises UserError for values out of range."""
    object.__setattr__(owner, "direction", _vector(owner.direction, f"{prefix}: direction"))
    object.__setattr__(owner, "noise", number(owner.noise, f"{prefix}: noise"))
    if not 1e-100 < math.hypot(*owner.direction) < 1e100:
        raise UserError(f"{prefix}: {kind} takes a direction that is not 0, 0, 0 and has a length below 1e100")
    if not 0 <= owner.noise <= 1:
        raise UserError(f"{prefix}: noise is an angle between 0 and 1 rad, not {owner.noise}")


@dataclass(frozen=True)
class Random:
    """An initial state: a direction for every square with sides of about `length`, m, uniformly on the sphere.

    Cells begin finer noise the smaller they are, unless it has a length of its own. A square is a cell at least.
    """

    length: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", number(self.length, "protocol: length"))
        if not 0 < self.length < 1e-3:
            raise UserError(f"protocol: the length of a random start is above 0 and below 1 mm, not {self.length:g} m")

    def square(self, cell_size: Sequence[float]) -> tuple[int, int]:
        """Return the sides of a square, in cells (dx, dy, ...), m."""
        along, across = (max(1, round(self.length / side)) for side in cell_size[:2])
        return along, across

    def __str__(self) -> str:
        return f"random in squares of {self.length * 1e9:g} nm"


Initial = Literal["random"] | Random | Uniform


def _set_tolerance(stage: "Minimize | Demagnetise | Sweep", name: str) -> None:
    """Convert `torque` and `max_evaluations` to plain numbers. Raises UserError for values out of range."""
    most = whole(stage.max_evaluations, f"{name}: max_evaluations", 1, MOST_EVALUATIONS)
    object.__setattr__(stage, "torque", number(stage.torque, f"{name}: torque"))
    object.__setattr__(stage, "max_evaluations", most)
    if not 0 < stage.torque < 1:
        raise UserError(f"{name}: torque is in units of Ms and lies between 0 and 1, not {stage.torque}")


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
        _set_tolerance(self, "minimize")
        object.__setattr__(self, "field", _of_stage(self.field))

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


@dataclass(frozen=True)
class Demagnetise:
    """A stage that minimises in fields of alternating sign and falling amplitude, last in the film's own field.

    The amplitude along `direction` falls from `start` to `end` (A/m), each time by `ratio`; or in `steps` fields, at a
    fixed ratio. Before each field every cell is tilted by a normally distributed angle of about `noise` rad, in place
    of the thermal motion that lets a film leave an energy maximum. torque, max_evaluations: of each field, as in
    `Minimize`.
    """

    start: float
    end: float
    direction: Vector
    ratio: float | None = None
    steps: int | None = None
    noise: float = 0.01
    torque: float = 1e-3
    max_evaluations: int = 20_000

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            object.__setattr__(self, name, _amplitude(getattr(self, name), f"demagnetise: {name}"))
        _set_direction(self, "demagnetise", "it")
        _set_tolerance(self, "demagnetise")
        if not 0 < self.end < self.start:
            raise UserError(
                f"demagnetise: the field never falls from {self.start:g} to {self.end:g} A/m; "
                "give an end above 0 and below the start"
            )
        if (self.ratio is None) == (self.steps is None):
            raise UserError("demagnetise: give either ratio, such as 0.9, or steps, such as 40")
        if self.ratio is not None:
            object.__setattr__(self, "ratio", number(self.ratio, "demagnetise: ratio"))
            if not 0 < self.ratio < 1:
                raise UserError(f"demagnetise: the field never falls by a ratio of {self.ratio}; give one from 0 to 1")
            whole(self.count, "demagnetise: the number of fields that follows from the ratio", 2, MOST_FIELDS)
        else:
            object.__setattr__(self, "steps", whole(self.steps, "demagnetise: steps", 2, MOST_FIELDS))

    @property
    def count(self) -> int:
        """Return the number of fields before the film's own."""
        if self.ratio is None:
            return self.steps or 0
        # a hair more, so that 8 falls by 0.5 to 1, whatever the logarithms' last digits
        return math.floor(math.log(self.end / self.start) / math.log(self.ratio) + 1e-9) + 1

    @property
    def fields(self) -> list[Vector | None]:
        """Return the fields, A/m; the last one, None, is the film's own."""
        ratio = self.ratio or (self.end / self.start) ** (1 / (self.count - 1))
        return [*(_along(self.direction, self.start * (-1) ** i * ratio**i) for i in range(self.count)), None]

    def __str__(self) -> str:
        fall = f"by {self.ratio:g}" if self.ratio else f"in {self.steps} steps"
        field = f"falling {fall} from {self.start * 1e-3:g} to {self.end * 1e-3:g} kA/m"
        return f"demagnetised along {_components(self.direction)}, the field {field}, at {self.torque:g} Ms"


@dataclass(frozen=True)
class Sweep:
    """A stage that minimises in one field after another and records the mean m at each: a hysteresis loop.

    The field along `direction` goes from each of `fields` (A/m) to the next one in equal steps of `step` at most;
    without `step`, there are no others. noise, torque, max_evaluations: at each field, as `Demagnetise` has them.
    """

    fields: tuple[float, ...]
    direction: Vector
    step: float | None = None
    noise: float = 0.01
    torque: float = 1e-4
    max_evaluations: int = 20_000

    def __post_init__(self) -> None:
        fields = tuple(_amplitude(field, "sweep: fields") for field in sequence(self.fields, "sweep: fields"))
        object.__setattr__(self, "fields", fields)
        _set_direction(self, "sweep", "it")
        _set_tolerance(self, "sweep")
        if not fields:
            raise UserError("sweep: it has no points; give fields, such as [1 T, -1 T, 1 T] with a step of 10 mT")
        if self.step is not None:
            object.__setattr__(self, "step", number(self.step, "sweep: step"))
            if not self.step > 0:
                raise UserError(f"sweep: step must be above 0 A/m, not {self.step:g}")
        whole(self.count, "sweep: the number of its points", 1, MOST_FIELDS)

    @property
    def _parts(self) -> list[int]:
        """Return the numbers of steps from each of `fields` to the next."""
        ways = (abs(b - a) for a, b in zip(self.fields, self.fields[1:], strict=False))
        return [1 if self.step is None else max(1, math.ceil(way / self.step - 1e-9)) for way in ways]

    @property
    def count(self) -> int:
        """Return the number of points."""
        return 1 + sum(self._parts)

    @property
    def points(self) -> list[Vector]:
        """Return the fields of all points, A/m."""
        ends = zip(self.fields, self.fields[1:], self._parts, strict=False)
        amplitudes = [a + (b - a) * i / parts for a, b, parts in ends for i in range(parts)]
        return [_along(self.direction, amplitude) for amplitude in (*amplitudes, self.fields[-1])]

    def __str__(self) -> str:
        ends = " to ".join(f"{field * 1e-3:g}" for field in self.fields[:5]) + (" …" if len(self.fields) > 5 else "")
        return f"swept along {_components(self.direction)} in {self.count} fields, {ends} kA/m, at {self.torque:g} Ms"


def _amplitude(value: object, name: str) -> float:
    field = number(value, name)
    if abs(field) > STRONGEST_FIELD:
        raise UserError(f"{name} must lie between -{STRONGEST_FIELD:g} and {STRONGEST_FIELD:g} A/m, not {field:g}")
    return field


def _along(direction: Vector, amplitude: float) -> Vector:
    x, y, z = direction
    factor = amplitude / math.hypot(x, y, z)
    return x * factor, y * factor, z * factor


Stage = Minimize | Quench | Demagnetise | Sweep
STAGES: dict[str, type[Stage]] = {
    "minimize": Minimize,
    "quench": Quench,
    "demagnetise": Demagnetise,
    "sweep": Sweep,
}


@dataclass(frozen=True)
class Step:
    """A part of a stage that a solver runs at a time: the whole stage, or one of its fields.

    stage: its place in the protocol. number: of the field in the stage. noise: each cell is tilted before, rad.
    recorded: whether the mean m at its end is a point of a loop.
    """

    does: Minimize | Quench
    stage: int
    number: int = 0
    noise: float = 0.0
    recorded: bool = False


def _steps_of(stage: Stage, place: int) -> list[Step]:
    if isinstance(stage, Minimize | Quench):
        return [Step(stage, place)]
    recorded = isinstance(stage, Sweep)
    fields = stage.points if isinstance(stage, Sweep) else stage.fields
    return [
        Step(Minimize(stage.torque, stage.max_evaluations, field), place, number, stage.noise, recorded)
        for number, field in enumerate(fields)
    ]


@dataclass(frozen=True)
class Protocol:
    """An initial state and stages, each of which begins where the one before it ended.

    The initial state "random" draws a direction for every cell, uniformly on the sphere; `Random`, for larger squares.
    """

    initial: Initial = "random"
    stages: tuple[Stage, ...] = (Minimize(),)

    def __post_init__(self) -> None:
        if not isinstance(self.initial, Random | Uniform):
            choice(self.initial, ("random",), "protocol: initial, unless it is a Random or Uniform,")
        object.__setattr__(self, "stages", sequence(self.stages, "protocol: stages"))
        if not self.stages:
            raise UserError("protocol: it has no stages; give at least one, such as minimize")
        if len(self.stages) > MOST_STAGES:
            raise UserError(f"protocol: it has {len(self.stages):,} stages, more than {MOST_STAGES:,}")
        for stage in self.stages:
            if type(stage) not in STAGES.values():
                kinds = ", ".join(kind.__name__ for kind in STAGES.values())
                raise UserError(f"protocol: a stage is one of {kinds}, not {shortened(stage)}")
        if (fields := sum(getattr(stage, "count", 0) for stage in self.stages)) > MOST_FIELDS:
            raise UserError(f"protocol: its stages have {fields:,} fields, more than {MOST_FIELDS:,}")

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Return all steps of all stages. The first one starts from the initial state, which has a noise of its own."""
        first, *others = (step for place, stage in enumerate(self.stages) for step in _steps_of(stage, place))
        return replace(first, noise=0.0), *others

    def __str__(self) -> str:
        """Return the protocol in words, such as "start: random; minimised to 0.0001 Ms"."""
        return "; ".join(map(str, (f"start: {self.initial}", *self.stages)))

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no spaces, no setting that a stage leaves out. Film ids depend on it."""
        initial = self.initial if isinstance(self.initial, str) else asdict(self.initial)
        stages = [{name: _settings(stage)} for stage in self.stages for name in STAGES if type(stage) is STAGES[name]]
        return json.dumps({"initial": initial, "stages": stages}, sort_keys=True, separators=(",", ":"))

    @classmethod
    @lru_cache(maxsize=64)  # the rows of a plan have the same few
    def from_json(cls, text: str) -> "Protocol":
        """Return the protocol that `to_json` wrote. Raises UserError for another text."""
        try:
            data: dict[str, Any] = json.loads(text)
            initial = _initial_of(data["initial"])
            named = [pair for stage in data["stages"] for pair in stage.items()]
            return cls(initial, tuple(STAGES[name](**settings) for name, settings in named))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UserError(f"protocol: {shortened(text)} is none; take it from a plan that magray wrote") from error


def _initial_of(data: Any) -> Any:
    if not isinstance(data, dict):
        return data
    return Random(**data) if "length" in data else Uniform(**data)


def _in_field(field: Vector | None) -> str:
    return "" if field is None else f" in {_components([component * 1e-3 for component in field])} kA/m"


def _components(vector: Sequence[float]) -> str:
    return ", ".join(f"{component:g}" for component in vector)


def _settings(stage: Stage) -> dict[str, Any]:
    return {name: value for name, value in asdict(stage).items() if value is not None}
