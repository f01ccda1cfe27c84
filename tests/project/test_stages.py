"""Test that a stage is done only once summary.json records its end, and is repeated after a kill."""

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from magray.config import Config, load_config
from magray.errors import UserError
from magray.estimator.estimator import Estimator
from magray.estimator.metadata import Calibration, EstimatorMetadata, Target
from magray.files.atomic import write_table
from magray.films import plan_table, sample
from magray.imaging import read_picture
from magray.micromagnetics import RelaxedFilm
from magray.network.branches import paper_cnn
from magray.project.cache import fingerprint
from magray.project.stages import Project
from magray.report.project import figure_names
from magray.report.summary import Summary
from magray.store import create_store, open_store, rows_of
from tests.support.stripes import stripes

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SIDE = 128


def estimator(seed: int) -> Estimator:
    """Return an untrained estimator, with other answers for each seed."""
    torch.manual_seed(seed)
    target = Target("D", "J/m2", mean=(0.4 + 0.1 * seed) * 1e-3, spread=0.2e-3, low=0.1e-3, high=1e-3)
    calibration = Calibration((0.25, 0.5), {"D": (4e-5, 2e-5)}, films=9)
    return Estimator(paper_cnn(1, width=0.5), EstimatorMetadata((target,), (0.5,), 80, calibration, {}, width=0.5))


class Fits:
    """A stand-in for `fit` that saves an estimator at once. seed: that of the next one; None interrupts it."""

    def __init__(self) -> None:
        self.seed: int | None = 1
        self.count = 0

    def __call__(self, store_uri: str, config: Any, train_set: str, folder: Path, *rest: Any) -> None:  # noqa: ARG002
        self.count += 1
        if self.seed is None:
            time.sleep(0.02)
            raise KeyboardInterrupt
        estimator(self.seed).save(folder)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Fits:
    stand_in = Fits()
    monkeypatch.setattr("magray.training.fit.fit", stand_in)
    monkeypatch.setattr("magray.runtime.connect.connect", lambda: None)
    monkeypatch.setattr("magray.runtime.resources.gpus", lambda: 0)
    return stand_in


def project_of(folder: Path, *changes: str) -> Project:
    """Return a project with one training set and a filled store."""
    settings = [f"output={folder}", "campaign.films=16", f"campaign.cells=[{SIDE}, {SIDE}]"]
    settings += ["fit.train_scales=['0.5']", "study.test_scales=[0.5]"]
    project = Project(load_config(CONFIG, [*settings, *changes]))
    if not (folder / "store").exists():
        films = sample(project.config.campaign.sampling())
        plan = plan_table(films, "stripes")
        energy = dict.fromkeys(("exchange", "anisotropy", "dmi", "demag", "zeeman", "total"), -1.0)
        relaxed = []
        for number, film in enumerate(films):
            mz = stripes(2 + number % 7, 0.5, number, SIDE)
            m = np.stack([np.sqrt(1 - mz**2), np.zeros_like(mz), mz])
            relaxed.append(RelaxedFilm(film, m, energy, 0.0, 1, "converged", "", 0.0, "none", "drawn"))
        create_store(project.config.store_uri, "stripes", plan).commit(rows_of(relaxed, plan))
    return project


def edit(project: Project, **changes: Any) -> dict[str, Any]:
    """Change entries of summary.json, or remove those given as `...`; return its former content."""
    path = project.folder / "summary.json"
    before: dict[str, Any] = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in (before | changes).items() if value is not ...}))
    return before


def answer_of(project: Project) -> str:
    answer = project.summary.answer
    assert answer is not None
    return answer.text


@pytest.mark.parametrize("version", ["now", "before"])
def test_an_estimate_that_was_killed_when_its_picture_was_there_is_made_again(
    fits: Fits, tmp_path: Path, version: str
) -> None:
    """Former versions wrote no ends, and took the picture for one."""
    project = project_of(tmp_path / "run")
    project.fit()
    whole = project.estimate_held_out().text
    (project.folder / "report" / "held_out_film.png").write_bytes(b"\x89PNG half")
    done = {name: mark for name, mark in project.summary.done.items() if name != "estimate"}
    edit(project, answer=..., done=done if version == "now" else ...)
    again = project.estimate_held_out()
    assert (again.text, again.cached, answer_of(project)) == (whole, False, whole)
    assert read_picture(project.folder / "report" / "held_out_film.png").shape == (SIDE, SIDE)
    assert project.estimate_held_out().cached
    assert fits.count == 1


def test_an_answer_is_made_again_if_it_alone_is_lost(fits: Fits, tmp_path: Path) -> None:
    project = project_of(tmp_path / "run")
    project.fit()
    told = project.estimate_held_out().text
    edit(project, answer=...)
    assert project.estimate_held_out().text == told


def test_the_answer_of_a_former_fit_is_gone_when_the_next_one_begins(fits: Fits, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    project = project_of(folder)
    project.fit()
    former = project.estimate_held_out().text
    changed = project_of(folder, "fit.epochs=3")
    fits.seed = None
    with pytest.raises(KeyboardInterrupt):
        changed.fit()
    assert changed.summary.answer is None
    fits.seed = 2
    assert not changed.fit()[0].cached
    assert changed.estimate_held_out().text != former


def test_the_report_never_shows_the_answer_of_a_former_fit(
    fits: Fits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor where a former version left it in the summary."""
    shown: list[Summary] = []

    def write_report(folder: Path, store: object, config: object, summary: Summary) -> None:
        shown.append(summary)
        (folder / "report" / "index.html").touch()

    monkeypatch.setattr("magray.report.project.write_report", write_report)
    folder = tmp_path / "run"
    project = project_of(folder)
    project.fit()
    write_table(pa.table({}), folder / "study.parquet")
    project.estimate_held_out()
    project.report()
    former = edit(project)["answer"]
    changed = project_of(folder, "fit.epochs=3")
    fits.seed = 2
    changed.fit()
    edit(changed, answer=former)
    assert not changed.report().cached
    changed.estimate_held_out()
    changed.report()
    texts = [summary.answer and summary.answer.text for summary in shown]
    assert texts == [former["text"], None, answer_of(changed)]


def test_a_report_removes_its_own_former_figures_and_no_other_file(
    fits: Fits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_report(folder: Path, store: object, config: Config, summary: object) -> None:
        for name in ("index.html", *figure_names(config)):
            (folder / "report" / name).touch()

    monkeypatch.setattr("magray.report.project.write_report", write_report)
    folder = tmp_path / "run"
    report = folder / "report"
    project_of(folder)
    report.mkdir()
    write_table(pa.table({}), folder / "study.parquet")
    (report / "curves_mine.png").write_text("precious")
    project_of(folder).report()
    assert (report / "scatter_D_0.5.png").exists()
    changed = project_of(folder, "fit.train_scales=['0.25+0.5']")
    changed.report()
    figures = {*figure_names(changed.config)}
    assert {path.name for path in report.glob("*.png")} == figures | {"curves_mine.png"}
    assert "scatter_D_0.5.png" not in figures


def test_a_summary_of_a_former_version_keeps_what_was_done(fits: Fits, tmp_path: Path) -> None:
    project = project_of(tmp_path / "run")
    project.fit()
    project.estimate_held_out()
    edit(project, done=..., made_by_hand={"note": "kept"})
    assert project.fit()[0].cached
    assert not project.estimate_held_out().cached
    assert json.loads((project.folder / "summary.json").read_text())["made_by_hand"] == {"note": "kept"}
    assert project.fit()[0].cached
    assert fits.count == 1


def test_a_fit_from_other_weights_is_done_again_and_from_the_same_ones_is_not(fits: Fits, tmp_path: Path) -> None:
    """Weights count, not the folder's name; a project without a start has the fits of versions that knew none."""
    for seed in (1, 2):
        estimator(seed).save(tmp_path / str(seed))
    changes = ["fit.width=0.5", "fit.start_from={}"]

    def cached(start: str | Path) -> bool:
        return project_of(tmp_path / "run", changes[0], changes[1].format(start)).fit()[0].cached

    assert not cached("null")
    assert not cached(tmp_path / "1")
    assert cached(tmp_path / "1")
    (tmp_path / "1").rename(tmp_path / "moved")
    assert cached(tmp_path / "moved")
    assert not cached(tmp_path / "2")
    estimator(3).save(tmp_path / "2")
    assert not cached(tmp_path / "2")


def test_a_fit_of_a_version_without_starting_points_is_done(fits: Fits, tmp_path: Path) -> None:
    project = project_of(tmp_path / "run", "fit.start_from=null")
    fit = project.config.fit.model_dump_json(exclude={"train_scales", "seeds", "workers", "start_from"})
    ids = open_store(project.config.store_uri).films(columns=["film_id"])["film_id"].to_pylist()
    project.fit()
    assert project.summary.done["fit 0.5 seed 1"] == fingerprint([fit, "0.5", ids])


def test_a_start_that_cannot_be_is_refused_before_films_are_simulated(fits: Fits, tmp_path: Path) -> None:
    for start, reason in (
        (tmp_path / "none", "fit.start_from: .*none: there is no such estimator folder"),
        (tmp_path / "run/estimator/1.0", "is of this project, whose fits replace it; copy it elsewhere"),
    ):
        project = project_of(tmp_path / "run", f"fit.start_from={start}")
        with pytest.raises(UserError, match=reason):
            project.simulate()
    assert not (tmp_path / "run/plan.parquet").exists()


def test_a_fit_that_was_interrupted_adds_up_its_seconds(fits: Fits, tmp_path: Path) -> None:
    project = project_of(tmp_path / "run")
    fits.seed = None
    for times in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            project.fit()
        assert project.summary.seconds["fit 0.5 seed 1"] >= 0.02 * times
    fits.seed = 1
    assert project.fit()[0].seconds >= 0.04
    assert project.fit()[0].cached


@pytest.mark.parametrize(
    "change",
    [
        {"answer": {"picture": "../../secret.png"}},
        {"answer": {"picture": "/etc/passwd"}},
        {"answer": {"picture": ".."}},
        {"answer": {"scale_um": math.inf}},
        {"answer": {"constants": {"D": {"value": math.nan, "error": 0.0, "true": 0.0, "unit": "J/m2"}}}},
        {"answer": {"constants": {"unknown": {"value": 0.0, "error": 0.0, "true": 0.0, "unit": "1"}}}},
        {"answer": {"text": "D = \x1b[2J"}},
        {"answer": []},
        {"seconds": {"fit": "long"}},
        {"seconds": {"fit": -1}},
        {"made_from": ["fit"]},
        {"done": {"fit": 3}},
        {"versions": None},
        {"plan": {"text": "planned"}},
    ],
)
def test_a_summary_that_no_project_writes_is_refused_and_kept(
    fits: Fits,
    tmp_path: Path,
    change: dict[str, Any],
) -> None:
    """Its picture above all is a file of the report, not any that a stranger names."""
    project = project_of(tmp_path / "run")
    project.folder.mkdir(exist_ok=True)
    answer = {"picture": "held_out_film.png", "film_id": "f", "scale_um": 0.5, "text": "", "warnings": []}
    if isinstance(change.get("answer"), dict):
        change = {"answer": answer | {"constants": {}} | change["answer"]}
    text = json.dumps({"name": "run", "seconds": {}, "made_from": {}} | change)
    path = project.folder / "summary.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"summary\.json is no project's summary") as refusal:
        project.fit()
    assert "\n" not in str(refusal.value)
    assert path.read_text() == text


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 10_000, '{"seconds": {"fit": 1e999}}', "null"])
def test_a_summary_that_is_no_json_of_ours_is_refused(fits: Fits, tmp_path: Path, text: str) -> None:
    project = project_of(tmp_path / "run")
    (project.folder / "summary.json").write_text(text)
    with pytest.raises(UserError, match=r"summary\.json is no project's summary"):
        project.fit()
