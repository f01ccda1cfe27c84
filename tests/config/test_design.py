"""The section `design`: kept as it was read, or refused in one line; its plan has the numbers of every film."""

from pathlib import Path

import pyarrow as pa
import pytest

from magray.config import DesignedConfig, load_config, load_films
from magray.errors import UserError
from magray.files.atomic import read_table
from magray.files.parquet import complete
from magray.films.plan import PLAN_SCHEMA, films_of
from magray.project.stages import FilmsProject
from tests.support.configs import QUICKSTART

FOLDER = Path(__file__).parents[2] / "configs" / "any-film"


@pytest.mark.parametrize(("cells", "films"), [(256, 100_000), (512, 10_000)])
def test_the_designs_of_any_film_are_read_and_kept(cells: int, films: int, tmp_path: Path) -> None:
    config = load_films(FOLDER / f"films-{cells}.yaml")
    assert isinstance(config, DesignedConfig)
    assert (config.design.films, config.design.cells) == (films, (cells, cells))
    kept = tmp_path / "kept.yaml"
    kept.write_text(config.to_yaml())
    assert load_films(kept) == config


def test_a_plan_has_the_reduced_numbers_beside_the_constants(tmp_path: Path) -> None:
    config = load_films(FOLDER / "films-256.yaml", ["design.films=8", f"output={tmp_path}"])
    project = FilmsProject(config)
    assert "8 films planned" in project.plan().text
    numbers = complete([("Q1", pa.float64()), ("d", pa.float64()), ("t_over_wall_width", pa.float64())])
    plan = tmp_path / "plan.parquet"
    assert read_table(plan, PLAN_SCHEMA).num_rows == read_table(plan, numbers).num_rows == 8
    assert films_of(read_table(plan, PLAN_SCHEMA)) == config.films()
    assert project.plan().cached


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("design.d=[0, 1.2]", "d: give .* between 0 and 0.999"),
        ("design.Q1=[4, 0.02]", "Q1: give .low, high."),
        ("design.histories={boiled: 1}", "histories: give shares of minimised"),
        ("design.wall_width=[2, 4]", "has no unit"),
        ("design.wall_width=[1 um, 2 um]", "hardly any film"),
        ("design.Ms=0 A/m", "Ms must lie between"),
        ("design.cells=[9, 9]", "not an even number"),
        ("design.films=0", "greater than 0"),
        ("design.cels=[8, 8]", "did you mean cells"),
        ("campaign={}", "not both of them"),
    ],
)
def test_a_design_that_cannot_be_is_refused_in_one_line(change: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as refusal:
        load_films(FOLDER / "films-256.yaml", [change])
    assert "\n" not in str(refusal.value)


def test_films_come_from_a_campaign_or_a_design() -> None:
    assert load_films(QUICKSTART) == load_config(QUICKSTART)
    with pytest.raises(UserError, match="this needs a campaign"):
        load_config(FOLDER / "films-256.yaml")
