"""A search on a real Ray cluster finds the cheapest set, survives a kill, and evaluates every set if asked to."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from magray.cli.app import app
from magray.config import Config, SearchConfig, load_config, load_protocols
from magray.errors import UserError
from magray.search import run as searching
from magray.search.run import search
from magray.search.trials import Row, cheapest, options, read_trials
from magray.workflows.protocol_transfer import compare_protocols
from tests.support.stripes import striped_store

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SETTINGS: dict[str, Any] = {
    "tolerance": 0.9,  # which any trial that ran to its end meets, whatever order they come in
    "views": [180],
    "trials": 4,
    "learning_rates": [3e-3, 6e-3],
    "scales": [0.125, 0.1875, 0.25],
    "most_scales": 2,
    "test_scales": [0.25],
    "seeds": 2,
}

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of films whose stripes depend on D."""
    folder = tmp_path_factory.mktemp("stripes") / "store"
    striped_store(folder, films=60)
    return folder


def project_of(stripes: Path, output: Path, *changes: str) -> Config:
    own = [f"output={output}", f"simulate.store={stripes}", "fit.batch=16", "fit.learning_rate=4.0e-3"]
    own += ["fit.start_from=null"]  # of a width of 1
    return load_config(QUICKSTART, [*own, *changes])


def settings(**changes: Any) -> SearchConfig:
    return SearchConfig(project=Path("project.yaml"), **(SETTINGS | changes))


def test_the_answer_is_the_cheapest_that_stays_within_the_tolerance(stripes: Path, tmp_path: Path) -> None:
    said: list[str] = []
    wanted = settings(ranges=["0.125..0.25"], widths=[0.5, 1.0])
    found = search(project_of(stripes, tmp_path), wanted, tell=said.append)
    rows = read_trials(tmp_path / "search.parquet").to_pylist()
    assert found.answer is not None
    assert found.answer == cheapest(options(rows), SETTINGS["tolerance"])
    assert found.answer.seeds == 2
    assert sum(row["step"] == "explore" for row in rows) == SETTINGS["trials"]
    assert [row["train_set"] for row in rows if row["step"] == "range"] == ["0.125..0.25"]
    assert {row["films"] for row in rows if row["step"] == "films"} == {
        n // k for n in (rows[0]["films"],) for k in (2, 4, 8)
    }
    assert all(row["views"] == row["budget"] for row in rows if row["status"] == "finished")
    before = list(said)
    assert search(project_of(stripes, tmp_path), wanted, tell=said.append) == found
    assert said == before, "trials were done again"


def test_a_search_whose_driver_is_killed_loses_no_trial_and_repeats_none(stripes: Path, tmp_path: Path) -> None:
    project = project_of(stripes, tmp_path / "out")
    (tmp_path / "project.yaml").write_text(project.to_yaml(), encoding="utf-8")
    endless = settings(tolerance=1e-6, views=[270], trials=5, seeds=1)  # nothing is good enough
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(endless.model_dump(mode="json")), encoding="utf-8")
    table, saved = tmp_path / "out" / "search.parquet", tmp_path / "out" / ".work"
    driver = subprocess.Popen(
        [sys.executable, "-c", "from magray.cli.app import main; main()", "search", str(tmp_path / "search.yaml")],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 90
    while not (table.exists() and len(read_trials(table)) >= 2 and list(saved.rglob("*.pt"))):
        assert driver.poll() is None, "the driver ended before it could be killed"
        assert time.monotonic() < deadline, "no trial ended"
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    ended = {row["trial"]: row for row in read_trials(table).to_pylist()}
    under_way = {path.stem for path in saved.rglob("*.pt")} - set(ended)
    again = CliRunner().invoke(app, ["search", str(tmp_path / "search.yaml")])
    assert again.exit_code == 0
    assert "no set stays within 0.0%" in again.output
    rows = {row["trial"]: row for row in read_trials(table).to_pylist()}
    assert f"explore, 270 views: {5 - len(ended)} to do" in again.output
    assert len(rows) == 5
    assert {trial: rows[trial] for trial in ended} == ended
    assert under_way <= set(rows)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")
def test_the_exhaustive_search_tries_every_set_once_and_the_best_with_every_seed(stripes: Path, tmp_path: Path) -> None:
    short = settings(tolerance=1e-6, views=[90], ranges=["0.125..0.25"])
    said: list[str] = []
    project = project_of(stripes, tmp_path)
    found = search(project, short, exhaustive=True, tell=said.append, track=["mlflow", "tensorboard"])
    assert found.answer is None
    trackers_agree_with(found.trials, tmp_path, f"{project.name} search")
    sets = ["0.125", "0.1875", "0.25", "0.125+0.1875", "0.125+0.25", "0.1875+0.25"]
    tried = [row for row in found.trials if row["step"] == "explore"]
    assert sorted(row["train_set"] for row in tried) == sorted([*sets, "0.125..0.25"])
    best = min((row for row in tried if row["train_set"] in sets), key=lambda row: row["worst"])
    again = {row["train_set"]: row["seed"] for row in found.trials if row["step"] == "again"}
    assert again[best["train_set"]] == 1
    same = {(row["status"], row["budget"], row["learning_rate"]) for row in found.trials}
    assert same == {("finished", 90, 4e-3)}
    assert {row["views"] for row in found.trials if row["train_set"] in sets} == {90}


def trackers_agree_with(trials: Sequence[Row], folder: Path, experiment: str) -> None:
    """Fail unless MLflow and TensorBoard have each trial once, with its worst error at the end of its curve."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    tracked = {
        (run.data.params["train_set"], int(run.data.params["seed"])): run.data.metrics["worst_error"] for run in runs
    }
    assert len(tracked) == len(runs)
    assert tracked == pytest.approx({(row["train_set"], row["seed"]): row["curve"][-1] for row in trials})
    assert len(list((folder / "tensorboard").iterdir())) == len(runs)


def test_a_search_without_optuna_says_what_to_install(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "find_spec", {}.get)
    with pytest.raises(UserError, match=r"pip install 'magray\[search\]'"):
        search(project_of(stripes, tmp_path), settings())


def test_each_protocols_estimator_is_tested_on_the_films_of_all(
    stripes: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The diagonal has the scores of the projects' own studies."""
    other = tmp_path / "other"
    striped_store(other, films=40)
    short = ["fit.train_scales=['0.125']", "fit.epochs=99", "fit.seeds=2", "fit.views_per_epoch=32"]
    for name, store, seed in (("slow", stripes, 1), ("fast", other, 2)):
        one = project_of(store, tmp_path / name, f"name={name}", f"campaign.seed={seed}", *short)
        (tmp_path / f"{name}.yaml").write_text(one.to_yaml(), encoding="utf-8")
    text: dict[str, Any] = {"projects": ["slow.yaml", "fast.yaml"], "output": str(tmp_path / "both")}
    text |= {"train_set": "0.25", "epochs": 1, "seeds": 1, "test_scales": [0.125, 0.25]}
    (tmp_path / "both.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
    table = compare_protocols(load_protocols(tmp_path / "both.yaml"), tmp_path)
    pairs = {(row["train_project"], row["test_project"], row["test_scale"]) for row in table.to_pylist()}
    assert pairs == {(a, b, scale) for a in ("slow", "fast") for b in ("slow", "fast") for scale in (0.125, 0.25)}
    fitted = {(row["train_set"], row["seed"]) for row in table.to_pylist()}
    assert fitted == {("0.25", 1)}, "the projects have another set and two seeds"
    assert pq.read_table(tmp_path / "both" / "protocols.parquet").equals(table)
    counts = {row["test_project"]: row["n"] for row in table.to_pylist() if row["test_scale"] == 0.25}
    assert counts["slow"] != counts["fast"], "the test films are those of the tested project"


def test_protocols_of_different_films_are_not_compared(stripes: Path, tmp_path: Path) -> None:
    for change, reason in (("campaign.Ms=1400 kA/m", "campaign.Ms"), ("fit.targets=[Ms]", "fit.targets")):
        for name, seed, changes in (("slow", 1, []), ("fast", 2, [change])):
            one = project_of(stripes, tmp_path / name, f"name={name}", f"campaign.seed={seed}", *changes)
            (tmp_path / f"{name}.yaml").write_text(one.to_yaml(), encoding="utf-8")
        text = {"projects": ["slow.yaml", "fast.yaml"], "output": "both", "train_set": "0.25", "test_scales": [0.25]}
        (tmp_path / "both.yaml").write_text(yaml.safe_dump(text | {"epochs": 1, "seeds": 1}), encoding="utf-8")
        with pytest.raises(UserError, match=reason):
            compare_protocols(load_protocols(tmp_path / "both.yaml"), tmp_path)
