"""The section `campaign` of a config: its films and the protocol that gives them their domains."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    FieldSerializationInfo,
    Strict,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from magray.config.quantities import quantities, quantity, quantity_or_range
from magray.config.section import Films, Section, Seed
from magray.errors import UserError, shortened
from magray.films import Demagnetise, Film, Minimize, Protocol, Quench, Random, Sampling, Sweep, Uniform
from magray.films.film import Dmi, OpenEdges
from magray.films.protocol import Stage
from magray.units import in_si, parse_quantity

CONSTANTS = {
    "Ms": "magnetisation",
    "Ku1": "anisotropy",
    "Aex": "exchange",
    "D": "dmi",
    "sigma": "ratio",
    "grain_size": "length",
}
SHARED = ("cells", "cell_size", "dmi", "field", "open_edges", "demag")  # by all films of a campaign
VECTORS = {"cell_size": "length", "field": "field"}


@dataclass(frozen=True)
class UniformRange:
    """A range in which each film draws its own value, uniformly in [low, high). SI units."""

    low: float
    high: float


def _read_vector(values: Any, name: str) -> tuple[float, ...]:
    if not isinstance(values, (list, tuple)) or len(values) != 3:
        raise UserError(f"{name}: give three quantities in brackets, not {shortened(values)}")
    return tuple(parse_quantity(value, VECTORS[name], name) for value in values)


Direction = Annotated[tuple[float, float, float], Strict(False)]


class _StageSettings(Section):
    """The keys of every stage: an applied field in place of the film's own."""

    field: Annotated[tuple[float, float, float] | None, quantities("field", 3)] = None
    """Applied during this stage, along x, y and z, in place of the film's own."""

    @field_validator("field", mode="before")
    @classmethod
    def _read_field(cls, values: Any) -> tuple[float, ...] | None:
        return None if values is None else _read_vector(values, "field")

    @field_serializer("field")
    def _write_field(self, values: tuple[float, float, float] | None) -> list[str | float] | None:
        return None if values is None else [in_si(value, "field") for value in values]


class MinimizeConfig(_StageSettings):
    """Descend until max |m × h| / Ms is below `torque`; give up after `max_evaluations` field evaluations."""

    torque: float = Minimize.torque
    """Largest torque of the relaxed film, relative to Ms."""
    max_evaluations: int = Minimize.max_evaluations
    """Field evaluations after which a film counts as not converged."""

    def stage(self) -> Stage:
        """Return the stage of a film's protocol."""
        return Minimize(self.torque, self.max_evaluations, self.field)


QUENCH_UNITS = {"duration": "time", "temperature": "temperature"}


class QuenchConfig(_StageSettings):
    """Follow the Landau-Lifshitz-Gilbert equation with the damping `alpha` for a duration, at a temperature."""

    alpha: float
    """Damping."""
    duration: Annotated[float, quantity("time")]
    """Time that the film has."""
    temperature: Annotated[float, quantity("temperature")] = Quench.temperature
    """Above 0 K, each cell feels a thermal field."""

    @field_validator(*QUENCH_UNITS, mode="before")
    @classmethod
    def _read_quantity(cls, value: Any, info: ValidationInfo) -> float:
        name = str(info.field_name)
        return parse_quantity(value, QUENCH_UNITS[name], name)

    @field_serializer(*QUENCH_UNITS)
    def _write_quantity(self, value: float, info: FieldSerializationInfo) -> str | float:
        return in_si(value, QUENCH_UNITS[info.field_name])

    def stage(self) -> Stage:
        """Return the stage of a film's protocol."""
        return Quench(self.alpha, self.duration, self.temperature, self.field)


class DemagnetiseConfig(Section):
    """Minimise in an alternating field whose amplitude falls from `start` to `end`, by `ratio` or in `steps`."""

    start: Annotated[float, quantity("field")]
    """First and largest amplitude."""
    end: Annotated[float, quantity("field")]
    """Amplitude below which the alternation ends."""
    direction: Direction
    """The field's direction; any length."""
    ratio: float | None = None
    """The ratio of an amplitude to the one before; give either this or steps."""
    steps: int | None = None
    """Number of fields; give either this or ratio."""
    noise: float = Demagnetise.noise
    """Tilt of each cell before each field, rad."""
    torque: float = Demagnetise.torque
    """Largest torque at the end of each field, relative to Ms."""
    max_evaluations: int = Demagnetise.max_evaluations
    """Field evaluations in each field, at most."""

    @field_validator("start", "end", mode="before")
    @classmethod
    def _read_amplitude(cls, value: Any, info: ValidationInfo) -> float:
        return parse_quantity(value, "field", str(info.field_name))

    @field_serializer("start", "end")
    def _write_amplitude(self, value: float) -> str | float:
        return in_si(value, "field")

    def stage(self) -> Stage:
        """Return the stage of a film's protocol."""
        return Demagnetise(**dict(self))


class SweepConfig(Section):
    """Minimise in fields from each of `fields` to the next by `step`, and record the mean m at each."""

    fields: Annotated[list[float], quantities("field")]
    """Where the sweep begins, turns and ends, such as [1 T, -1 T, 1 T]."""
    direction: Direction
    """The field's direction; any length."""
    step: Annotated[float | None, quantity("field")] = None
    """From one field to the next; without it, only the given fields."""
    noise: float = Sweep.noise
    """Tilt of each cell before each field, rad."""
    torque: float = Sweep.torque
    """Largest torque at the end of each field, relative to Ms."""
    max_evaluations: int = Sweep.max_evaluations
    """Field evaluations in each field, at most."""

    @field_validator("fields", mode="before")
    @classmethod
    def _read_fields(cls, values: Any) -> list[float]:
        if not isinstance(values, (list, tuple)):
            raise UserError(f"fields: give quantities in brackets, such as [1 T, -1 T, 1 T], not {shortened(values)}")
        return [parse_quantity(value, "field", "fields") for value in values]

    @field_validator("step", mode="before")
    @classmethod
    def _read_step(cls, value: Any) -> float | None:
        return None if value is None else parse_quantity(value, "field", "step")

    @field_serializer("fields")
    def _write_fields(self, values: list[float]) -> list[str | float]:
        return [in_si(value, "field") for value in values]

    @field_serializer("step")
    def _write_step(self, value: float | None) -> str | float | None:
        return None if value is None else in_si(value, "field")

    def stage(self) -> Stage:
        """Return the stage of a film's protocol."""
        return Sweep(**{**dict(self), "fields": tuple(self.fields)})


class StageConfig(Section):
    """One stage of a protocol."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    quench: QuenchConfig | None = None
    """Follow the Landau-Lifshitz-Gilbert equation for a time."""
    minimize: MinimizeConfig | None = None
    """Descend in energy."""
    demagnetise: DemagnetiseConfig | None = None
    """Minimise in an alternating field of falling amplitude."""
    sweep: SweepConfig | None = None
    """Follow a hysteresis loop."""

    def stage(self) -> Stage:
        """Return the stage that is given. Raises UserError unless it is exactly one."""
        every = (self.quench, self.minimize, self.demagnetise, self.sweep)
        given = [settings for settings in every if settings is not None]
        if len(given) != 1:
            raise UserError(
                "stages: each begins with quench, minimize, demagnetise or sweep, such as - minimize: {torque: 1e-4}"
            )
        return given[0].stage()


class InitialConfig(Section):
    """An initial state other than random in every cell: random in larger squares, or along one direction."""

    random: Annotated[float | None, quantity("length")] = None
    """Side of the squares that begin with one random direction each, whatever the size of the cells."""
    uniform: Direction | None = None
    """Direction of m; any length."""
    noise: float = Uniform.noise
    """Tilt of each cell from that direction, rad."""

    @field_validator("random", mode="before")
    @classmethod
    def _read_length(cls, value: Any) -> float | None:
        return None if value is None else parse_quantity(value, "length", "random")

    @field_serializer("random")
    def _write_length(self, value: float | None) -> str | float | None:
        return None if value is None else in_si(value, "length")

    def initial(self) -> Random | Uniform:
        """Return the initial state. Raises UserError unless it is exactly one."""
        if self.random is not None and self.uniform is None and self.noise == Uniform.noise:
            return Random(self.random)
        if self.uniform is not None and self.random is None:
            return Uniform(self.uniform, self.noise)
        raise UserError("initial: give random, {random: 4 nm}, or {uniform: [x, y, z]}, with noise or without")


class ProtocolConfig(Section):
    """The protocol of a campaign: the initial state and the stages of every film."""

    initial: Literal["random"] | InitialConfig
    """State at the start: random in every cell, {random: 4 nm} in squares of a length, or {uniform: [x, y, z]}."""
    stages: list[StageConfig]
    """The stages that give the film its domains, one after the other."""

    def protocol(self) -> Protocol:
        """Return the protocol that every film of the campaign follows."""
        stages = tuple(stage.stage() for stage in self.stages)
        return Protocol(self.initial if self.initial == "random" else self.initial.initial(), stages)


class CampaignConfig(Section):
    """A campaign: how many films, their geometry, and constants, each one value or {uniform: [low, high]}."""

    films: Films
    """Number of films. A larger number adds films to those of a smaller one."""
    seed: Seed
    """The seed of all that is random; the same one gives the same films."""
    cells: Annotated[tuple[int, int], Strict(False)]
    """Cells along x and y: even products of 2, 3, 5 and 7."""
    cell_size: Annotated[tuple[float, float, float], quantities("length", 3)]
    """Size of a cell along x, y and z; along z it is the film's thickness."""
    Ms: Annotated[float | UniformRange, quantity_or_range("magnetisation")]
    """Saturation magnetisation."""
    Ku1: Annotated[float | UniformRange, quantity_or_range("anisotropy")]
    """Uniaxial anisotropy along z."""
    Aex: Annotated[float | UniformRange, quantity_or_range("exchange")]
    """Exchange stiffness."""
    dmi: Dmi = "none"
    """Kind of the Dzyaloshinskii-Moriya interaction."""
    D: Annotated[float | UniformRange, quantity_or_range("dmi")] = 0.0
    """Dzyaloshinskii-Moriya constant."""
    sigma: Annotated[float | UniformRange, quantity_or_range("ratio")] = 0.0
    """Standard deviation of Ku1 from grain to grain, relative to Ku1."""
    grain_size: Annotated[float | UniformRange, quantity_or_range("length")] = 0.0
    """Mean size of a grain; 0: each cell is a grain."""
    open_edges: OpenEdges = "none"
    """Axes along which the film ends; along the others it repeats itself."""
    demag: bool = True
    """true for a film with a demagnetising field."""
    field: Annotated[tuple[float, float, float], quantities("field", 3)] = (0.0, 0.0, 0.0)
    """Applied field along x, y and z."""
    protocol: ProtocolConfig
    """The way in which the films get their domains."""

    @field_validator(*CONSTANTS, mode="before")
    @classmethod
    def _read_constant(cls, value: Any, info: ValidationInfo) -> float | UniformRange:
        name = str(info.field_name)
        if not isinstance(value, dict):
            return parse_quantity(value, CONSTANTS[name], name)
        ends = value.get("uniform")
        if list(value) != ["uniform"] or not isinstance(ends, list) or len(ends) != 2:
            raise UserError(f"{name}: give one value or {{uniform: [low, high]}}, not {shortened(value)}")
        low, high = (parse_quantity(end, CONSTANTS[name], name) for end in ends)
        if not low < high:
            raise UserError(f"{name}: in uniform: [low, high], low must be below high, not {ends}")
        return UniformRange(low, high)

    @field_validator(*VECTORS, mode="before")
    @classmethod
    def _read_vectors(cls, values: Any, info: ValidationInfo) -> tuple[float, ...]:
        return _read_vector(values, str(info.field_name))

    @field_serializer(*CONSTANTS)
    def _write_constant(self, value: float | UniformRange, info: FieldSerializationInfo) -> Any:
        dimension = CONSTANTS[info.field_name]
        if isinstance(value, UniformRange):
            return {"uniform": [in_si(value.low, dimension), in_si(value.high, dimension)]}
        return in_si(value, dimension)

    @field_serializer(*VECTORS)
    def _write_vector(self, values: tuple[float, ...], info: FieldSerializationInfo) -> list[str | float]:
        return [in_si(value, VECTORS[info.field_name]) for value in values]

    @model_validator(mode="after")
    def _every_film_can_be(self) -> "CampaignConfig":
        """Build the films at both ends of all ranges: if these are possible, so is every film between them."""
        sampling = self.sampling()
        for end in (0, 1):
            Film(**sampling.fixed, **dict[str, Any]({name: ends[end] for name, ends in sampling.ranges.items()}))
        return self

    def sampling(self) -> Sampling:
        """Return what `films.sample` draws the campaign's films from."""
        fixed: dict[str, Any] = {name: getattr(self, name) for name in SHARED}
        constants = {name: getattr(self, name) for name in CONSTANTS}
        ranges = {name: (value.low, value.high) for name, value in constants.items() if isinstance(value, UniformRange)}
        fixed |= {name: value for name, value in constants.items() if name not in ranges}
        return Sampling(fixed | {"protocol": self.protocol.protocol()}, ranges, self.films, self.seed)
