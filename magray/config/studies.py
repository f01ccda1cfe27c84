"""Configs beside a project's: figures of the paper, searches over training scales, and studies of protocols."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from magray.config.project import Config, Width
from magray.config.scales import is_range, is_trained, parse_scales
from magray.config.section import Place, Section
from magray.errors import UserError


class PanelConfig(Section):
    """Estimates of one training set at some test scales, as one panel of a figure shows them."""

    name: str
    train: str
    test: list[PositiveFloat] = Field(min_length=1)
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
    views: list[PositiveInt] = Field(min_length=1)  # that a trial learns from, all scales together: ever more of them
    trials: PositiveInt  # with each number of views
    learning_rates: tuple[PositiveFloat, PositiveFloat]  # lowest and highest
    schedules: list[Literal["one-cycle", "cosine", "constant"]] = Field(default=["one-cycle"], min_length=1)
    scales: list[PositiveFloat] = Field(default=[0.5, 0.6, 0.75, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0], min_length=1)  # µm
    most_scales: PositiveInt = 4  # in a set
    ranges: list[str] = Field(default=[])  # such as "0.4..2.0": tried beside the sets
    widths: list[Width] = Field(default=[1.0], min_length=1)  # of the network
    test_scales: list[PositiveFloat] | None = None  # µm; default: 0.4 to 2.0 in steps of 0.05, those that films have
    seeds: PositiveInt = 3  # that an answer is trained with: the mean over them must be within the tolerance
    seed: int = Field(default=0, ge=0, lt=2**63)
    gpu_share: float = Field(default=0.25, gt=0.0, le=1.0)  # of a GPU that a trial takes

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
    epochs: PositiveInt  # of every project's fits, whatever the project itself says
    seeds: PositiveInt  # likewise
    test_scales: list[PositiveFloat] = Field(min_length=1)  # µm

    @model_validator(mode="after")
    def _tests_what_it_trains(self) -> Self:
        trained, between = parse_scales(self.train_set), is_range(self.train_set)
        if not any(is_trained(scale, trained, between) for scale in self.test_scales):
            raise UserError(f"test_scales: none of them is trained; add one of {self.train_set}")
        return self
