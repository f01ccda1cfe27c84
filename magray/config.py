"""One YAML file describes a project: the campaign's films, how they are simulated, the fits and the study of them.

The models below are the reference of its keys. A key that none of them knows is an error that names the nearest one.
Quantities carry their units ("1500 kA/m"); inside they are SI floats, or a Uniform range where films differ.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FieldSerializationInfo,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from magray.errors import UserError
from magray.films import Film, Minimize, Protocol, Quench, Sampling
from magray.films import Uniform as UniformState
from magray.films.film import Dmi, OpenEdges
from magray.films.protocol import Stage
from magray.units import in_si, parse_quantity

Parameter = Literal["D", "Ms", "Ku1", "Aex", "sigma"]
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
WIDTHS = (0.5, 1.0, 2.0)  # of networks, that the GPU's kernels have been tested with
RANGE = ".."  # between the ends of a range of scales


_Model = TypeVar("_Model", bound=BaseModel)


def _check_width(width: float) -> float:
    if width not in WIDTHS:
        raise UserError(f"networks are {', '.join(map(str, WIDTHS))} times as wide as the paper's, not {width:g}")
    return width


Width = Annotated[float, AfterValidator(_check_width)]


@dataclass(frozen=True)
class Uniform:
    """Each film draws its own value, uniformly in [low, high). SI."""

    low: float
    high: float


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _read_vector(values: Any, name: str) -> tuple[float, ...]:
    if not isinstance(values, (list, tuple)) or len(values) != 3:
        raise UserError(f"{name}: give three quantities in brackets, not {values}")
    return tuple(parse_quantity(value, VECTORS[name], name) for value in values)


class _StageSettings(_Section):
    """What every stage may have: an applied field of its own, in place of the film's."""

    field: tuple[float, float, float] | None = None

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
    max_evaluations: int = Minimize.max_evaluations

    def stage(self) -> Stage:
        """The stage of a protocol."""
        return Minimize(self.torque, self.max_evaluations, self.field)


QUENCH_UNITS = {"duration": "time", "temperature": "temperature"}


class QuenchConfig(_StageSettings):
    """Follow the Landau-Lifshitz-Gilbert equation with the damping `alpha` for a duration, at a temperature."""

    alpha: float
    duration: float
    temperature: float = Quench.temperature

    @field_validator(*QUENCH_UNITS, mode="before")
    @classmethod
    def _read_quantity(cls, value: Any, info: ValidationInfo) -> float:
        name = str(info.field_name)
        return parse_quantity(value, QUENCH_UNITS[name], name)

    @field_serializer(*QUENCH_UNITS)
    def _write_quantity(self, value: float, info: FieldSerializationInfo) -> str | float:
        return in_si(value, QUENCH_UNITS[info.field_name])

    def stage(self) -> Stage:
        """The stage of a protocol."""
        return Quench(self.alpha, self.duration, self.temperature, self.field)


class StageConfig(_Section):
    """One stage of a protocol: quench or minimize."""

    quench: QuenchConfig | None = None
    minimize: MinimizeConfig | None = None

    def stage(self) -> Stage:
        """The one that is given. Raises UserError unless that is exactly one."""
        given = [settings for settings in (self.quench, self.minimize) if settings is not None]
        if len(given) != 1:
            raise UserError("stages: each begins with quench or minimize, such as - minimize: {torque: 1e-4}")
        return given[0].stage()


class UniformConfig(_Section):
    """An initial state along one direction, each cell tilted by about `noise` rad."""

    uniform: tuple[float, float, float]
    noise: float = UniformState.noise


class ProtocolConfig(_Section):
    """How a film gets its domains."""

    initial: Literal["random"] | UniformConfig
    stages: list[StageConfig]

    def protocol(self) -> Protocol:
        """The protocol that every film of the campaign follows."""
        stages = tuple(stage.stage() for stage in self.stages)
        if isinstance(self.initial, UniformConfig):
            return Protocol(UniformState(self.initial.uniform, self.initial.noise), stages)
        return Protocol(self.initial, stages)


class CampaignConfig(_Section):
    """The films: how many, their geometry, and constants that are one value each or {uniform: [low, high]}."""

    films: PositiveInt
    seed: int = Field(ge=0, lt=2**63)
    cells: tuple[int, int]
    cell_size: tuple[float, float, float]
    Ms: float | Uniform
    Ku1: float | Uniform
    Aex: float | Uniform
    dmi: Dmi = "none"
    D: float | Uniform = 0.0
    sigma: float | Uniform = 0.0
    grain_size: float | Uniform = 0.0
    open_edges: OpenEdges = "none"
    demag: bool = True
    field: tuple[float, float, float] = (0.0, 0.0, 0.0)
    protocol: ProtocolConfig

    @field_validator(*CONSTANTS, mode="before")
    @classmethod
    def _read_constant(cls, value: Any, info: ValidationInfo) -> float | Uniform:
        name = str(info.field_name)
        if not isinstance(value, dict):
            return parse_quantity(value, CONSTANTS[name], name)
        ends = value.get("uniform")
        if list(value) != ["uniform"] or not isinstance(ends, list) or len(ends) != 2:
            raise UserError(f"{name}: give one value or {{uniform: [low, high]}}, not {value}")
        low, high = (parse_quantity(end, CONSTANTS[name], name) for end in ends)
        if not low < high:
            raise UserError(f"{name}: in uniform: [low, high], low must be below high, not {ends}")
        return Uniform(low, high)

    @field_validator(*VECTORS, mode="before")
    @classmethod
    def _read_vectors(cls, values: Any, info: ValidationInfo) -> tuple[float, ...]:
        return _read_vector(values, str(info.field_name))

    @field_serializer(*CONSTANTS)
    def _write_constant(self, value: float | Uniform, info: FieldSerializationInfo) -> Any:
        dimension = CONSTANTS[info.field_name]
        if isinstance(value, Uniform):
            return {"uniform": [in_si(value.low, dimension), in_si(value.high, dimension)]}
        return in_si(value, dimension)

    @field_serializer(*VECTORS)
    def _write_vector(self, values: tuple[float, ...], info: FieldSerializationInfo) -> list[str | float]:
        return [in_si(value, VECTORS[info.field_name]) for value in values]

    @model_validator(mode="after")
    def _every_film_can_be(self) -> "CampaignConfig":
        """Builds the films at both ends of all ranges: what they accept, every film between them accepts."""
        sampling = self.sampling()
        for end in (0, 1):
            Film(**sampling.fixed, **dict[str, Any]({name: ends[end] for name, ends in sampling.ranges.items()}))
        return self

    def sampling(self) -> Sampling:
        """What `films.sample` draws this campaign's films from."""
        fixed: dict[str, Any] = {name: getattr(self, name) for name in SHARED}
        constants = {name: getattr(self, name) for name in CONSTANTS}
        ranges = {name: (value.low, value.high) for name, value in constants.items() if isinstance(value, Uniform)}
        fixed |= {name: value for name, value in constants.items() if name not in ranges}
        return Sampling(fixed | {"protocol": self.protocol.protocol()}, ranges, self.films, self.seed)


class SimulateConfig(_Section):
    """Where and how films are simulated. None of it changes a film."""

    store: str | None = None  # folder or URI such as s3://bucket/prefix; default: store/ in the project's folder
    backend: Literal["auto", "numpy", "cpu", "cupy"] = "auto"
    actors: PositiveInt | None = None  # at most; default: one for each core, or each GPU, that is there at the start
    gpu_share: float = Field(default=1.0, gt=0.0, le=1.0)  # of a GPU that an actor takes
    block_films: PositiveInt | None = None  # that an actor takes at a time; default: 4, on a GPU half of its slots
    retry_failed: bool = False  # simulate films once more that failed before


class FitConfig(_Section):
    """What the estimators learn, from which scales, and how. One estimator is fitted for each of `train_scales`."""

    targets: list[Parameter] = Field(default=["D"], min_length=1)
    # µm: sets such as "0.25+0.5+1.0", and ranges such as "0.25..1.0": any scale in it, by a network that is told which
    train_scales: list[str] = Field(min_length=1)
    epochs: PositiveInt
    # random ones, at each scale of a set, and 4 times as many for a range; default: every view, as in the paper
    views_per_epoch: PositiveInt | None = None
    symmetries: Literal["rotations", "all"] = "rotations"  # all: mirrored and inverted too, exact at zero field
    width: Width = 1.0  # of the network: filters, of the paper's numbers
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"  # of the learning rate
    batch: PositiveInt = 128
    learning_rate: PositiveFloat
    weight_decay: float = Field(default=0.0, ge=0)
    seed: int = Field(default=0, ge=0, lt=2**63)
    seeds: PositiveInt = 1  # estimators of each set, from `seed`, `seed` + 1, …: they tell luck from knowledge
    workers: PositiveInt = 1  # processes that share every batch, by Ray Train: on a GPU each, if there are as many
    checkpoint_epochs: PositiveInt = 5
    # on the device, of which half are learned from while the others are read; default: all, as far as they take no more
    # than half of its free memory
    films_at_once: int | None = Field(default=None, ge=4)
    calibration_fraction: float = Field(default=0.15, ge=0.05, le=0.5)  # of the training films, kept for error bars

    @model_validator(mode="after")
    def _ranges_are_drawn_from(self) -> Self:
        ranges = [text for text in self.train_scales if is_range(text)]
        if ranges and self.views_per_epoch is None:
            raise UserError(f"a range such as {ranges[0]} needs views_per_epoch, since its cuts do not tile a film")
        return self

    @field_validator("train_scales")
    @classmethod
    def _sets_can_be_read(cls, sets: list[str]) -> list[str]:
        if len({(is_range(text), parse_scales(text)) for text in sets}) < len(sets):
            raise UserError(f"train_scales: a set is there twice: {', '.join(sets)}")
        return sets


class StudyConfig(_Section):
    """The scales at which every estimator is tested on films that it never saw, µm."""

    test_scales: list[PositiveFloat] = Field(min_length=1)


class PanelConfig(_Section):
    """Estimates of one training set at some test scales, as one panel of a figure shows them."""

    name: str
    train: str
    test: list[PositiveFloat] = Field(min_length=1)
    paper: str  # what the paper found


class FigureConfig(_Section):
    """A figure of the paper: panels of one project's study."""

    figure: str
    project: Path  # of the config, from this file's folder
    panels: list[PanelConfig] = Field(min_length=1)


class SearchConfig(_Section):
    """Which training scales are enough: what a search over sets of them may try, and what it asks of an answer."""

    project: Path  # of the config, from this file's folder: its films, targets and network
    tolerance: float = Field(gt=0, lt=1)  # of the parameter's range: the mean absolute error at the worst test scale
    views: list[PositiveInt] = Field(min_length=1)  # that a trial learns from, all scales together: ever more of them
    trials: PositiveInt  # with each number of views
    learning_rates: tuple[PositiveFloat, PositiveFloat]  # lowest and highest
    schedules: list[Literal["one-cycle", "cosine", "constant"]] = Field(default=["one-cycle"], min_length=1)
    scales: list[PositiveFloat] = Field(default=[0.5, 0.6, 0.75, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0], min_length=1)  # µm
    most_scales: PositiveInt = 4  # in a set
    ranges: list[str] = []  # such as "0.4..2.0": tried beside the sets
    widths: list[Width] = Field(default=[1.0], min_length=1)  # of the network
    test_scales: list[PositiveFloat] | None = None  # µm; default: 0.4 to 2.0 in steps of 0.05, those that films have
    seeds: PositiveInt = 3  # that an answer is trained with: the mean over them must be within the tolerance
    seed: int = Field(default=0, ge=0, lt=2**63)
    gpu_share: float = Field(default=0.25, gt=0.0, le=1.0)  # of a GPU that a trial takes

    @model_validator(mode="after")
    def _can_be_searched(self) -> Self:
        low, high = self.learning_rates
        if not low < high:
            raise UserError(f"learning_rates: [low, high], low must be below high, not {[low, high]}")
        if len(set(self.scales)) < len(self.scales):
            raise UserError(f"scales: one is there twice: {self.scales}")
        for text in self.ranges:
            parse_scales(text)
            if not is_range(text):
                raise UserError(f"ranges: {text} is a set; write a range such as 0.4..2.0, or its scales under scales")
        if self.views != sorted(set(self.views)):
            raise UserError(f"views: give them ascending, each once, not {self.views}")
        return self


class ProtocolsConfig(_Section):
    """Projects of the same films under different protocols: each one's estimator is tested on the films of all."""

    projects: list[Path] = Field(min_length=2)  # their configs, from this file's folder
    output: Path
    train_set: str  # of scales, such as "0.5+1.0"
    test_scales: list[PositiveFloat] = Field(min_length=1)  # µm

    @field_validator("train_set")
    @classmethod
    def _set_can_be_read(cls, text: str) -> str:
        parse_scales(text)
        return text


class Config(_Section):
    """A project: what its folder `output` will hold, and everything that decides it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    output: Path
    campaign: CampaignConfig
    simulate: SimulateConfig = SimulateConfig()
    fit: FitConfig
    study: StudyConfig

    @property
    def store_uri(self) -> str:
        """The store's folder or URI."""
        return self.simulate.store or str(self.output / "store")

    def to_yaml(self) -> str:
        """The resolved config: every key, SI units. `load_config` reads the very same config back from it."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=120)


def parse_scales(text: str) -> tuple[float, ...]:
    """The scales, µm and ascending, of a set such as "0.25+0.5+1.0", or the ends of a range such as "0.25..1.0".

    Raises UserError unless each is above 0, and a range has two.
    """
    parts = text.split(RANGE if is_range(text) else "+")
    try:
        scales = tuple(sorted({float(part) for part in parts}))
    except ValueError:
        scales = ()
    if not scales or not all(0 < scale < float("inf") for scale in scales):
        raise UserError(f'{text!r} is not a set of scales; write for example "0.25+0.5+1.0" or "0.25..1.0", in µm')
    if is_range(text) and len(scales) != 2:
        raise UserError(f'{text!r} is not a range of scales; write its two ends, for example "0.25..1.0", in µm')
    return scales


def is_range(train_set: str) -> bool:
    """Whether a training set is a range of scales, "0.25..1.0"."""
    return RANGE in train_set


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The config in the YAML file `path`, after `overrides` such as "campaign.films=12".

    Raises UserError, one line that names the file and the key, unless that is a complete and possible project.
    """
    return _load(path, lambda text: read_config(text, overrides))


def load_figure(path: str | Path) -> FigureConfig:
    """The figure in the YAML file `path`. Raises UserError as `load_config`."""
    return _load(path, lambda text: _validated(FigureConfig, _keys_and_values(text)))


def load_search(path: str | Path, overrides: Sequence[str] = ()) -> SearchConfig:
    """The search in the YAML file `path`, after `overrides` such as "trials=12". Raises UserError as `load_config`."""
    return _load(path, lambda text: _validated(SearchConfig, _overridden(text, overrides)))


def load_protocols(path: str | Path, overrides: Sequence[str] = ()) -> ProtocolsConfig:
    """The protocol study in the YAML file `path`, after `overrides`. Raises UserError as `load_config`."""
    return _load(path, lambda text: _validated(ProtocolsConfig, _overridden(text, overrides)))


def read_config(text: str, overrides: Sequence[str] = ()) -> Config:
    """The config that YAML `text` describes, after `overrides`. Raises UserError."""
    return _validated(Config, _overridden(text, overrides))


def _overridden(text: str, overrides: Sequence[str]) -> dict[str, Any]:
    content = _keys_and_values(text)
    for override in overrides:
        _override(content, override)
    return content


def _load(path: str | Path, read: Callable[[str], _Model]) -> _Model:
    """What `read` makes of a file's text. Raises UserError, one line that names the file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot read this config: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: this is not a text file") from error
    try:
        return read(text)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _keys_and_values(text: str) -> dict[str, Any]:
    content = _parse_yaml(text)
    if not isinstance(content, dict):
        raise UserError("a config is a list of keys with values, such as name: quickstart")
    return content


def _validated(model: type[_Model], content: dict[str, Any]) -> _Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(_first_problem(error, model)) from error


def _parse_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"this is not YAML{line}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise UserError("this is not YAML: it holds characters that no text has") from error


def _override(content: dict[str, Any], override: str) -> None:
    """Sets one value of `content`, which "key.key=value" names."""
    path, equals, value = override.partition("=")
    *parents, key = path.strip().split(".")
    if not (equals and key):
        raise UserError(f"--set {override}: write key=value, for example campaign.films=12")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise UserError(f"--set {override}: {parent} is a value, it has no keys of its own")
    content[key] = _parse_yaml(value)


def _first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """One line about one problem: a misspelt key if there is one, since a missing key may be its other half."""
    problems = error.errors(include_url=False)
    return _problem(next((p for p in problems if p["type"] == "extra_forbidden"), problems[0]), model)


def _problem(problem: ErrorDetails, model: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{where} is missing"
    if problem["type"] != "extra_forbidden":
        return f"{where}: {problem['msg'][0].lower()}{problem['msg'][1:]}, not {problem['input']!r}"
    known = _keys_beside(problem["loc"], model)
    nearest = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.4)
    return f"unknown key {where}; " + (f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(known)}")


def _keys_beside(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """The keys that the section of `model` holding `location` knows."""
    section: Any = model
    for part in location[:-1]:
        if part in section.model_fields:  # not so the index of a stage, or which kind of initial state it is
            annotation = section.model_fields[part].annotation
            kinds = get_args(annotation) or (annotation,)
            section = next(kind for kind in kinds if hasattr(kind, "model_fields"))
    return list(section.model_fields)
