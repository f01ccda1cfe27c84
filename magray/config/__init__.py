"""One YAML file describes a project: the campaign's films, how they are simulated, the fits and the study of them.

The models in this folder are the reference of its keys. A key that none of them knows is an error, which names the
nearest one. Quantities carry their units ("1500 kA/m"); inside they are SI floats, or a Uniform range where films
differ.
"""

from magray.config.campaign import CampaignConfig, Uniform
from magray.config.project import FEWEST_FILMS, WIDTHS, Config, FitConfig, MicroscopeConfig, SimulateConfig
from magray.config.reading import load_config, load_figure, load_protocols, load_search, read_config
from magray.config.scales import RANGE, is_range, parse_scales
from magray.config.studies import FigureConfig, ProtocolsConfig, SearchConfig

__all__ = [
    "FEWEST_FILMS",
    "RANGE",
    "WIDTHS",
    "CampaignConfig",
    "Config",
    "FigureConfig",
    "FitConfig",
    "MicroscopeConfig",
    "ProtocolsConfig",
    "SearchConfig",
    "SimulateConfig",
    "Uniform",
    "is_range",
    "load_config",
    "load_figure",
    "load_protocols",
    "load_search",
    "parse_scales",
    "read_config",
]
