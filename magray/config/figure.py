"""The config of a figure of the paper: panels of a project's study."""

from pydantic import Field

from magray.config.section import Place, Scale, Section


class PanelConfig(Section):
    """A panel of a figure: the estimates of one training set at some test scales."""

    name: str
    train: str
    test: list[Scale] = Field(min_length=1)
    paper: str  # the result of the paper, in words


class FigureConfig(Section):
    """A figure of the paper: panels of one project's study."""

    figure: str
    project: Place  # of the config, from this file's folder
    panels: list[PanelConfig] = Field(min_length=1)
