"""A project's config: kept as it ran, and changed key by key."""

from pathlib import Path

import pytest

from magray.config import load_config, read_config
from magray.errors import UserError
from tests.support.configs import QUICKSTART

PROJECTS = [
    QUICKSTART,
    *(path for name in ("paper", "microscope") for path in sorted((QUICKSTART.parent / name).glob("*.yaml"))),
]


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_kept_config_is_the_config_that_ran(path: Path) -> None:
    config = load_config(path)
    kept = config.to_yaml()
    assert read_config(kept) == config
    assert read_config(kept).to_yaml() == kept


def test_the_microscope_projects_use_the_papers_films() -> None:
    """They share a store, which holds one campaign."""
    paper, seen = (load_config(QUICKSTART.parent / name / "dmi.yaml") for name in ("paper", "microscope"))
    assert (seen.name, seen.campaign, seen.store_uri) == (paper.name, paper.campaign, paper.store_uri)


def test_overrides_change_single_keys() -> None:
    overrides = ["campaign.films=12", "campaign.cells=[128, 64]", "simulate.store=s3://bucket/films", "fit.seed=5"]
    config = load_config(QUICKSTART, overrides)
    assert config.campaign.films == 12
    assert config.campaign.cells == (128, 64)
    assert config.store_uri == "s3://bucket/films"
    assert config.fit.seed == 5


def test_an_address_is_no_folder() -> None:
    """As a path, s3://bucket would be a folder named "s3:"."""
    with pytest.raises(UserError, match="output: input should be a local path; only a store can be at an address"):
        load_config(QUICKSTART, ["output=s3://bucket/results"])


def test_the_store_is_beside_the_results_unless_the_config_names_another() -> None:
    assert load_config(QUICKSTART, ["output=/data/co"]).store_uri == "/data/co/store"
