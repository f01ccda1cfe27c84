"""Configs: a YAML file that describes a project, and those of figures, searches and protocol studies.

The models in this folder are the reference of its keys. A key that none of them knows is an error, which names the
nearest one. Quantities carry their units ("1500 kA/m"); inside they are SI floats, or a UniformRange where films
differ.
"""

from magray.config.campaign import CampaignConfig, UniformRange
from magray.config.design import DesignConfig, DesignedConfig
from magray.config.figure import FigureConfig
from magray.config.fit import FEWEST_FILMS, WIDTHS, FitConfig, MicroscopeConfig
from magray.config.project import Config
from magray.config.protocols import ProtocolsConfig
from magray.config.reading import (
    load_config,
    load_figure,
    load_films,
    load_protocols,
    load_scale_cues,
    load_search,
    read_config,
    read_films,
)
from magray.config.scale_cues import CueSetting, ScaleCuesConfig
from magray.config.scales import ScaleSet
from magray.config.search import SearchConfig
from magray.config.simulate import SimulateConfig

__all__ = [
    "FEWEST_FILMS",
    "WIDTHS",
    "CampaignConfig",
    "Config",
    "CueSetting",
    "DesignConfig",
    "DesignedConfig",
    "FigureConfig",
    "FitConfig",
    "MicroscopeConfig",
    "ProtocolsConfig",
    "ScaleCuesConfig",
    "ScaleSet",
    "SearchConfig",
    "SimulateConfig",
    "UniformRange",
    "load_config",
    "load_figure",
    "load_films",
    "load_protocols",
    "load_scale_cues",
    "load_search",
    "read_config",
    "read_films",
]
