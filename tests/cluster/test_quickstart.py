"""Run the quickstart with small films, on a Ray cluster, and open its report in a browser."""

import json
import math
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from magray.config import Config, load_config
from magray.project.estimate import estimate_pictures
from magray.project.stages import CONFIG_KEY, Project
from magray.store import open_store, verify
from magray.workflows.quickstart import run

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SETTINGS = (
    "campaign.films=12",
    "campaign.cells=[128, 128]",
    "campaign.protocol.stages=[{minimize: {torque: 1.0e-2, max_evaluations: 2000}}]",
    "fit.train_scales=['0.25+0.5', '0.5']",
    "fit.epochs=2",
    "fit.views_per_epoch=32",
    "fit.batch=16",
    "study.test_scales=[0.25, 0.375, 0.5]",
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def finished(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, str]:
    """Return the config of a finished quickstart, and its output."""
    config = load_config(CONFIG, [f"output={tmp_path_factory.mktemp('runs') / 'small'}", *SETTINGS])
    console = Console(record=True, width=160)
    run(config, console)
    return config, console.export_text()


def test_it_leaves_the_documented_files_and_nothing_else(finished: tuple[Config, str]) -> None:
    folder = finished[0].output
    assert {path.name for path in folder.iterdir()} == {
        "plan.parquet",
        "store",
        "simulate.jsonl",
        "estimator",
        "study.parquet",
        "predictions.parquet",
        "report",
        "summary.json",
    }
    assert {path.suffix for path in (folder / "report").iterdir()} == {".html", ".png"}


def test_each_film_of_the_plan_is_in_the_store_once(finished: tuple[Config, str]) -> None:
    config = finished[0]
    plan = pq.read_table(config.output / "plan.parquet")
    assert verify(open_store(config.store_uri), plan).ok
    assert plan.schema.metadata[CONFIG_KEY].decode() == config.to_yaml()


def test_the_summary_holds_counts_seconds_and_scores(finished: tuple[Config, str]) -> None:
    config = finished[0]
    summary = json.loads((config.output / "summary.json").read_text())
    assert summary["films"] == 12
    assert summary["evaluations"] == sum(open_store(config.store_uri).table(["evaluations"])["evaluations"].to_pylist())
    assert {"plan", "simulate", "fit 0.25+0.5 seed 1", "fit 0.5 seed 1", "study", "estimate", "report"} == set(
        summary["seconds"]
    )
    for train_set in config.fit.train_scales:
        scores = summary["scores"]["D"][str(train_set)]
        assert set(scores) == {"0.25", "0.375", "0.5"}
        assert all(score["n"] > 0 and math.isfinite(score["mae"]) for score in scores.values())
    assert not summary["scores"]["D"]["0.5"]["0.25"]["trained"]
    assert summary["config"] == config.model_dump(mode="json")


def test_the_value_it_prints_is_the_value_for_the_picture_it_saved(finished: tuple[Config, str]) -> None:
    config, said = finished
    picture = config.output / "report" / "held_out_film.png"
    answer = estimate_pictures(picture, estimator=config.output / "estimator", scale_um=0.5)
    assert f"{answer}  (true: " in said
    film_id = json.loads((config.output / "summary.json").read_text())["answer"]["film_id"]
    films = open_store(config.store_uri).table(["film_id", "split", "D"]).to_pylist()
    (film,) = [film for film in films if film["film_id"] == film_id]
    assert film["split"] == "test"
    assert f"(true: {film['D'] * 1e3:.3g} mJ/m²)" in said


def test_the_estimator_that_it_started_from_answers_beside_its_own(finished: tuple[Config, str]) -> None:
    config, said = finished
    picture = config.output / "report" / "held_out_film.png"
    answer = estimate_pictures(picture, estimator="co-like", scale_um=0.5)
    assert f"--estimator co-like --scale-um 0.5\n{answer}\n" in said
    assert "started from, of 7,604 films, none of which are like this one:" in said
    assert "co-like-microscope" not in said, "it knows neither such films nor films as they are"


def test_a_second_run_does_nothing_again(finished: tuple[Config, str]) -> None:
    config = finished[0]
    before = {path: path.stat().st_mtime_ns for path in config.output.rglob("*.p*") if path.is_file()}
    console = Console(record=True, width=160)
    run(config, console)
    said = console.export_text()
    assert said.count("done before") == 7  # two fits among the six stages
    assert {path: path.stat().st_mtime_ns for path in config.output.rglob("*.p*") if path.is_file()} == before


def test_after_a_change_only_the_stages_that_depend_on_it_run_again(finished: tuple[Config, str]) -> None:
    config = load_config(CONFIG, [f"output={finished[0].output}", *SETTINGS, "study.test_scales=[0.25, 0.5]"])
    project = Project(config)
    assert project.simulate().cached
    assert all(result.cached for result in project.fit())
    assert not project.study().cached
    assert not project.report().cached
    scores = project.summary.scores
    assert scores is not None
    assert set(scores["D"]["0.5"]) == {"0.25", "0.5"}


def test_a_browser_shows_the_report(finished: tuple[Config, str], tmp_path: Path) -> None:
    """The page fits the width of a phone, and is not blank."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no chromium on this machine: the report was not looked at in a browser")
    picture = tmp_path / "page.png"
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        *quiet,
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    page = (finished[0].output / "report" / "index.html").as_uri()
    subprocess.run([*command, "--window-size=500,1600", f"--screenshot={picture}", page], check=True, timeout=60)
    with Image.open(picture) as shot:
        assert shot.size == (500, 1600)
        colours = shot.convert("RGB").getcolors(1_000_000)
        assert colours is not None
        assert len(colours) > 200
