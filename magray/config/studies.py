"""Configs beside a project's: figures of the paper, searches over training scales, and studies of protocols."""

import math
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, Strict, model_validator

from magray.config.project import Config, Width
from magray.config.scales import is_range, is_trained, parse_scales
from magray.config.section import (
    Count,
    Epochs,
    GpuShare,
    LearningRate,
    Place,
    Scale,
    Section,
    Seed,
    Seeds,
    Views,
    at_most,
)
from magray.errors import UserError

MOST_SETS = 1_000_000  # of scales: an exhaustive search lists them all


class PanelConfig(Section):
    """Estimates of one training set at some test scales, as one panel of a figure shows them."""

    name: str
    train: str
    test: list[Scale] = Field(min_length=1)
    paper: str  # what the paper found


class FigureConfig(Section):
    """A figure of the paper: panels of one project's study."""

    figure: str
    project: Place  # of the config, from this file's folder
    panels: list[PanelConfig] = Field(min_length=1)


class SearchConfig(Section):
    """Which training scales are enough: what a search over sets of them may try, and what it asks of an answer."""

    project: Place  # of the config, from this file's folder: its films, targets and network
    output: Place | None = None  # folder of what comes out; the project's if there is none
    tolerance: float = Field(gt=0, lt=1)  # of the parameter's range: the mean absolute error at the worst test scale
    views: list[Views] = Field(min_length=1)  # that a trial learns from, all scales together: ever more of them
    trials: Annotated[Count, at_most(1_000_000, "since each trial is a fit")]  # with each number of views
    learning_rates: Annotated[tuple[LearningRate, LearningRate], Strict(False)]  # lowest and highest
    schedules: list[Literal["one-cycle", "cosine", "constant"]] = Field(default=["one-cycle"], min_length=1)
    scales: list[Scale] = Field(default=[0.5, 0.6, 0.75, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0], min_length=1)  # µm
    most_scales: Annotated[Count, at_most(20, "since no film has more scales that differ")] = 4  # in a set
    ranges: list[str] = Field(default=[])  # such as "0.4..2.0": tried beside the sets
    widths: list[Width] = Field(default=[1.0], min_length=1)  # of the network
    test_scales: list[Scale] | None = None  # µm; default: 0.4 to 2.0 in steps of 0.05, those that films have
    seeds: Seeds = 3  # that an answer is trained with: the mean over them must be within the tolerance
    seed: Seed = 0
    gpu_share: GpuShare = 0.25  # of a GPU that a trial takes

    def folder(self, project: Config) -> Path:
        """Where its trials and its page are."""
        return self.output or project.output

    @model_validator(mode="after")
    def _can_be_searched(self) -> Self:
        low, high = self.learning_rates
        if not low < high:
            raise UserError(f"learning_rates: [low, high], low must be below high, not {[low, high]}")
        if len(set(self.scales)) < len(self.scales):
            raise UserError(f"scales: one is there twice: {self.scales}")
        if (sets := sum(math.comb(len(self.scales), n) for n in range(1, self.most_scales + 1))) > MOST_SETS:
            raise UserError(
                f"most_scales: there are {sets:,} sets of up to {self.most_scales} of the {len(self.scales)} scales, "
                f"more than {MOST_SETS:,}; give fewer"
            )
        for text in self.ranges:
            parse_scales(text)
            if not is_range(text):
                raise UserError(f"ranges: {text} is a set; write a range such as 0.4..2.0, or its scales under scales")
        if self.views != sorted(set(self.views)):
            raise UserError(f"views: give them ascending, each once, not {self.views}")
        return self


class ProtocolsConfig(Section):
    """Projects of the same films under different protocols: each one's estimator is tested on the films of all."""

    projects: list[Place] = Field(min_length=2)  # their configs, from this file's folder
    output: Place
    train_set: str  # of scales, such as "0.5+1.0"
    epochs: Epochs  # of every project's fits, whatever the project itself says
    seeds: Seeds  # likewise
    test_scales: list[Scale] = Field(min_length=1)  # µm

    @model_validator(mode="after")
    def _tests_what_it_trains(self) -> Self:
        trained, between = parse_scales(self.train_set), is_range(self.train_set)
        if not any(is_trained(scale, trained, between) for scale in self.test_scales):
            raise UserError(f"test_scales: none of them is trained; add one of {self.train_set}")
        return self
