"""The config of a study of protocols: projects of the same films whose estimators are tested on each other's."""

from typing import Self

from pydantic import Field, model_validator

from magray.config.scales import TrainScales
from magray.config.section import Epochs, Place, Scale, Section, Seeds
from magray.errors import UserError


class ProtocolsConfig(Section):
    """A study of protocols: each project's estimator is tested on the films of all projects."""

    projects: list[Place] = Field(min_length=2)
    """The projects' configs, from this file's folder."""
    output: Place
    """Folder of the results."""
    train_set: TrainScales
    """Scales of training, µm, such as "0.5+1.0"."""
    epochs: Epochs
    """The epochs of every project's fits, whatever the project itself says."""
    seeds: Seeds
    """Networks of every project, whatever the project itself says."""
    test_scales: list[Scale] = Field(min_length=1)
    """Lengths of the side that a picture shows, µm."""

    @model_validator(mode="after")
    def _tests_what_it_trains(self) -> Self:
        if not any(map(self.train_set.contains, self.test_scales)):
            raise UserError(f"test_scales: none of them is trained; add one of {self.train_set}")
        return self
