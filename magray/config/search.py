"""The config of a search over sets of training scales."""

import math
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, Strict, model_validator

from magray.config.fit import Width
from magray.config.project import Config
from magray.config.scales import TrainScales
from magray.config.section import Count, GpuShare, LearningRate, Place, Scale, Section, Seed, Seeds, Views, at_most
from magray.errors import UserError

MAX_SETS = 1_000_000  # of scales: an exhaustive search lists them all


class SearchConfig(Section):
    """A search for training sets of few scales: what it may try, and the tolerance that an answer must meet."""

    project: Place
    """The project's config, from this file's folder: its films, targets and network."""
    output: Place | None = None
    """Folder of the results; without it, the project's."""
    tolerance: float = Field(gt=0, lt=1)
    """Mean absolute error at the worst test scale, at most, relative to the parameter's range."""
    views: list[Views] = Field(min_length=1)
    """Views of a trial, all scales together: one number a rung, ascending."""
    trials: Annotated[Count, at_most(1_000_000, "since each trial is a fit")]
    """Trials with each number of views."""
    learning_rates: Annotated[tuple[LearningRate, LearningRate], Strict(False)]
    """Lowest and highest."""
    schedules: list[Literal["one-cycle", "cosine", "constant"]] = Field(default=["one-cycle"], min_length=1)
    """Schedules of the learning rate that are tried."""
    scales: list[Scale] = Field(default=[0.5, 0.6, 0.75, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0], min_length=1)
    """Scales that a set may have, µm."""
    most_scales: Annotated[Count, at_most(20, "since no film has more scales that differ")] = 4
    """Scales in a set, at most."""
    ranges: list[TrainScales] = Field(default=[])
    """Ranges such as "0.4..2.0", tried beside the sets."""
    widths: list[Width] = Field(default=[1.0], min_length=1)
    """Widths of the network, relative to the paper's."""
    test_scales: list[Scale] | None = None
    """Lengths of the side that a picture shows, µm; without it 0.4 to 2.0 in steps of 0.05, those that films have."""
    seeds: Seeds = 3
    """Networks that an answer is trained with; their mean error must be within the tolerance."""
    seed: Seed = 0
    """The seed of all that is random."""
    gpu_share: GpuShare = 0.25
    """Share of a GPU that a trial takes."""

    def folder(self, project: Config) -> Path:
        """Return the folder of the search's trials and page."""
        return self.output or project.output

    @model_validator(mode="after")
    def _can_be_searched(self) -> Self:
        low, high = self.learning_rates
        if not low < high:
            raise UserError(f"learning_rates: [low, high], low must be below high, not {[low, high]}")
        if len(set(self.scales)) < len(self.scales):
            raise UserError(f"scales: one is given twice: {self.scales}")
        if (sets := sum(math.comb(len(self.scales), n) for n in range(1, self.most_scales + 1))) > MAX_SETS:
            raise UserError(
                f"most_scales: there are {sets:,} sets of up to {self.most_scales} of the {len(self.scales)} scales, "
                f"more than {MAX_SETS:,}; give fewer"
            )
        for scales in self.ranges:
            if not scales.is_range:
                raise UserError(
                    f"ranges: {scales} is a set; write a range such as 0.4..2.0, or its scales under scales"
                )
        if self.views != sorted(set(self.views)):
            raise UserError(f"views: give them ascending, each once, not {self.views}")
        return self
