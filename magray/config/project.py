"""A project's config: its campaign, and how its films are simulated, trained on and tested on."""

from collections.abc import Iterator

from pydantic import Field

from magray.config.campaign import CampaignConfig
from magray.config.fit import FitConfig
from magray.config.section import Name, Place, Scale, Section
from magray.config.simulate import SimulateConfig
from magray.config.strict_yaml import dump
from magray.films import Film
from magray.films.plan import one_by_one


class StudyConfig(Section):
    """The scales, µm, at which every estimator is tested on films that it was not trained on."""

    test_scales: list[Scale] = Field(min_length=1)
    """Lengths of the side that a picture shows, µm."""


class Config(Section):
    """A project: its folder `output`, and all settings that decide what the folder will hold."""

    name: Name
    """The project's name, also in its store."""
    output: Place
    """Folder of the project's results."""
    campaign: CampaignConfig
    """The films."""
    simulate: SimulateConfig = SimulateConfig()
    """The settings of the simulation; nothing here changes a film."""
    fit: FitConfig
    """The training of networks on the films."""
    study: StudyConfig
    """The scales at which the networks are tested."""

    @property
    def store_uri(self) -> str:
        """Return the folder or URI of the store."""
        return self.simulate.store or str(self.output / "store")

    def films(self) -> Iterator[Film]:
        """Yield the films of the campaign."""
        return one_by_one(self.campaign.sampling())

    def to_yaml(self) -> str:
        """Return the resolved config with every key, in SI units. `load_config` reads an equal config from it."""
        return dump(self.model_dump(mode="json"))
