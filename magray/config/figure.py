"""The config of a figure of the paper: panels of a project's study."""

from pydantic import Field

from magray.config.section import Place, Scale, Section


class PanelConfig(Section):
    """A panel of a figure: the estimates of one training set at some test scales."""

    name: str
    """The panel's letter, such as a."""
    train: str
    """The set of training scales, as in the project's config."""
    test: list[Scale] = Field(min_length=1)
    """Test scales, µm."""
    paper: str
    """The result of the paper, in words."""


class FigureConfig(Section):
    """A figure of the paper: panels of one project's study."""

    figure: str
    """Name of the figure."""
    project: Place
    """The project's config, from this file's folder."""
    panels: list[PanelConfig] = Field(min_length=1)
    """The figure's panels."""
