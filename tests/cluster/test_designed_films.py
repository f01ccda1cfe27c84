"""The films of a design are simulated as those of a campaign are, and say themselves what they are."""

from pathlib import Path

import numpy as np
import pytest

from magray.campaign.progress import LATEST
from magray.config import load_films
from magray.files.atomic import read_table
from magray.films.design import HISTORIES, reduced_columns
from magray.films.plan import PLAN_SCHEMA
from magray.project.stages import FilmsProject
from magray.store import open_store

pytestmark = pytest.mark.usefixtures("ray_cluster")

FILMS = Path(__file__).parents[2] / "configs" / "any-film" / "films-256.yaml"


def test_films_of_every_history_are_simulated(tmp_path: Path) -> None:
    """The numbers of a film follow from its row in the store, without the plan that it was drawn by."""
    equal = "{minimised: 1, quenched: 1, thermal: 1, demagnetised: 1}"
    small = ["films=14", "cells=[64, 64]", "torque=1.0e-2", f"histories={equal}"]
    config = load_films(FILMS, [f"output={tmp_path}", "simulate.backend=cpu", *(f"design.{key}" for key in small)])
    project = FilmsProject(config)
    assert "14 films in" in project.simulate(thumbnails=True).text
    page = (tmp_path / "simulate.html").read_text()
    assert "14 of 14 films" in page
    assert page.count("<img") == LATEST
    assert 'http-equiv="refresh"' not in page
    assert project.simulate().cached

    store = open_store(config.store_uri)
    films = store.films(columns=PLAN_SCHEMA.names)
    numbers = reduced_columns(films)
    assert set(numbers["history"].to_pylist()) == set(HISTORIES)
    planned = read_table(tmp_path / "plan.parquet", PLAN_SCHEMA.append(numbers.schema.field("Q1").with_nullable(False)))
    by_id = dict(zip(planned["film_id"].to_pylist(), planned["Q1"].to_pylist(), strict=True))
    wanted = [by_id[film_id] for film_id in films["film_id"].to_pylist()]
    np.testing.assert_array_equal(numbers["Q1"].to_numpy(), wanted)
    up = store.images(films["film_id"].to_pylist()) > 127
    assert np.mean((up.mean(axis=(1, 2)) > 0.05) & (up.mean(axis=(1, 2)) < 0.95)) > 0.5
