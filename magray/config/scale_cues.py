"""The config of a study of scale cues: settings of one project in which pictures reveal their scale less or more."""

from typing import Self

from pydantic import Field, model_validator

from magray.config.section import Name, Place, Section
from magray.errors import UserError


class CueSetting(Section):
    """A setting: what it changes of the project, and whether the pixels of its films begin anywhere in a cell."""

    name: Name
    """The name of the setting."""
    change: tuple[str, ...] = Field(default=(), strict=False)
    """Changes of the project, as --set: "campaign.grain_size=20 nm"."""
    random_phase: bool = False
    """true if the pixels of a film begin anywhere in a cell."""


class ScaleCuesConfig(Section):
    """A study of scale cues: a project's fits and tests in several settings."""

    project: Place
    """The project's config, from this file's folder."""
    output: Place
    """Folder of the results."""
    change: tuple[str, ...] = Field(default=(), strict=False)
    """Changes of the project in every setting, as --set."""
    settings: list[CueSetting] = Field(min_length=1)
    """The settings that are compared."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len({setting.name for setting in self.settings}) < len(self.settings):
            raise UserError("settings: two have the same name; rename one")
        return self
