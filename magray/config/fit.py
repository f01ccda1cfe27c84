"""The section `fit` of a project's config: the estimators, their training, and the microscope before it."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, Strict, field_serializer, field_validator, model_validator

from magray.config.quantities import quantities
from magray.config.scales import ScaleSet, TrainScales
from magray.config.section import (
    Count,
    Epochs,
    Films,
    LearningRate,
    Processes,
    Section,
    Seed,
    Seeds,
    Views,
    at_most,
)
from magray.errors import UserError
from magray.files.paths import at_home
from magray.units import in_si, parse_quantity

Parameter = Literal["D", "Ms", "Ku1", "Aex", "sigma"]
FEWEST_FILMS = 4  # on a device: two that are trained on, and two that come next
WIDTHS = (0.5, 1.0, 2.0)  # of networks, that the GPU's kernels have been tested with
WIDEST_BLUR = 1e-4  # m, a hundred films
WIDEST_BLUR_PIXELS = 128.0  # a whole picture
LOUDEST_NOISE = 100.0  # where domains are 2 apart

Ends = Annotated[tuple[float, float], Strict(False)]  # a list in YAML


def _check_width(width: float) -> float:
    if width not in WIDTHS:
        raise UserError(f"networks are {', '.join(map(str, WIDTHS))} times as wide as the paper's, not {width:g}")
    return width


Width = Annotated[float, AfterValidator(_check_width)]


def _whole_path(name: str) -> str:
    """Return a name or path of an estimator with the user's home in place of ~; ./name remains a path."""
    return str(at_home(name)) if name.startswith("~") else name


StartFrom = Annotated[
    str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*$"), AfterValidator(_whole_path)
]


class MicroscopeConfig(Section):
    """A microscope: the ranges in which every picture draws its blur and its noise, uniformly. See `imaging`."""

    blur: Annotated[Ends, quantities("length", 2)]
    """Smallest and largest standard deviation of the point spread."""
    noise: Ends
    """Smallest and largest standard deviation of white noise; domains are 2 apart."""
    blur_pixels: Ends = (0.0, 0.0)
    """As blur, but in pixels of the picture: the same at every scale."""

    @field_validator("blur", mode="before")
    @classmethod
    def _read_blur(cls, ends: Any) -> Any:
        return [parse_quantity(end, "length", "blur") for end in ends] if isinstance(ends, (list, tuple)) else ends

    @field_serializer("blur", when_used="json")
    def _write_blur(self, ends: tuple[float, float]) -> list[str | float]:
        return [in_si(end, "length") for end in ends]

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        limits = {"blur": WIDEST_BLUR, "noise": LOUDEST_NOISE, "blur_pixels": WIDEST_BLUR_PIXELS}
        for name, limit in limits.items():
            low, high = getattr(self, name)
            if not 0 <= low <= high <= limit:
                raise UserError(
                    f"microscope.{name}: give [least, most], both 0 or more and up to {limit:g}, not {[low, high]}"
                )
        return self


class FitConfig(Section):
    """The training of estimators: targets, scales and optimiser. One is trained on each of `train_scales`."""

    targets: list[Parameter] = Field(default=["D"], min_length=1)
    """The constants that the networks estimate."""
    train_scales: list[TrainScales] = Field(min_length=1)
    """A network is trained on each of these. µm: sets such as "0.25+0.5+1.0", and ranges such as "0.25..1.0", which
    are any scale between; the network is given the scale."""
    epochs: Epochs
    """Passes over the films."""
    start_from: StartFrom | None = None
    """An estimator whose network the training goes on with: a name such as co-like, or a folder such as ./co-like;
    without it random weights, as in the paper."""
    views_per_epoch: Views | None = None
    """Random views, at each scale of a set, and 4 times as many for a range; without it every view, as in the paper."""
    symmetries: Literal["rotations", "all"] = "rotations"
    """The turns of views. all: mirrored and inverted too, which is exact while no field is applied."""
    microscope: MicroscopeConfig | None = None
    """The microscope of training, tests and error bars; without it, pictures are as simulated."""
    width: Width = 1.0
    """Filters of the network, relative to the paper's: 0.5, 1 or 2."""
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    """The schedule of the learning rate."""
    batch: Annotated[Count, at_most(65_536, "since a GPU holds a batch at once")] = 128
    """Views of a training step."""
    learning_rate: LearningRate
    """The highest of the schedule."""
    weight_decay: Annotated[float, Field(ge=0), at_most(1, "since all weights would vanish")] = 0.0
    """Share of the weights that a step takes away, relative to the learning rate."""
    seed: Seed = 0
    """The seed of all that is random."""
    seeds: Seeds = 1
    """Networks of each set, from seed, seed + 1, …: their spread shows how much is chance."""
    workers: Processes = 1
    """Processes that share every batch, by Ray Train: on a GPU each, if there are as many."""
    checkpoint_epochs: Epochs = 5
    """Epochs between two checkpoints, from which an interrupted fit goes on."""
    films_at_once: Annotated[Films, Field(ge=FEWEST_FILMS)] | None = None
    """Films on the device, of which half are trained on while the others are read; without it all, as far as they take
    no more than half of its free memory."""
    calibration_fraction: float = Field(default=0.15, ge=0.05, le=0.5)
    """Share of the training films that is kept for error bars."""

    @field_validator("targets")
    @classmethod
    def _each_once(cls, targets: list[Parameter]) -> list[Parameter]:
        if len(set(targets)) < len(targets):
            raise UserError(f"targets: one is given twice: {', '.join(targets[:10])}")
        return targets

    @model_validator(mode="after")
    def _seeds_are_seeds(self) -> Self:
        if self.seed + self.seeds > 2**63:
            raise UserError(f"seed: {self.seed} and the {self.seeds} seeds from it on pass 2**63 - 1")
        return self

    @model_validator(mode="after")
    def _ranges_are_drawn_from(self) -> Self:
        ranges = [scales for scales in self.train_scales if scales.is_range]
        if ranges and self.views_per_epoch is None:
            raise UserError(f"a range such as {ranges[0]} needs views_per_epoch, since its crops do not tile a film")
        return self

    @field_validator("train_scales")
    @classmethod
    def _sets_differ(cls, sets: list[ScaleSet]) -> list[ScaleSet]:
        if len(set(sets)) < len(sets):
            raise UserError(f"train_scales: a set is given twice: {', '.join(map(str, sets))}")
        return sets
