"""Fits are written to TensorBoard and MLflow, and read back with their own packages. No Ray."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from typer.testing import CliRunner

from magray.cli.app import app
from magray.config import FitConfig, ScaleSet
from magray.errors import UserError
from magray.estimator.estimator import Estimator
from magray.search.dataset import EPOCHS
from magray.search.track import track_trial
from magray.store import Store
from magray.tracking import Tracking
from magray.training.fit import fit
from magray.training.progress import EpochLog, Listener
from magray.training.ray import training_process
from magray.training.spec import TrainingSpec
from magray.training.trainer import State
from tests.support.stripes import striped_store

SCALES = ScaleSet.parse("0.125+0.25")
SHORT = FitConfig(
    train_scales=[SCALES], epochs=4, views_per_epoch=32, batch=16, learning_rate=3e-3, seed=3, checkpoint_epochs=2
)
KILLED_AFTER = 3  # epochs; the last checkpoint is one earlier


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train without a cluster."""

    def train(
        spec: TrainingSpec, workers: int, work_folder: Path, progress: bool, listeners: Sequence[Listener]
    ) -> State:
        (folder := work_folder / spec.name).mkdir(parents=True, exist_ok=True)
        log = EpochLog(folder / "epochs.jsonl")
        with log.shown(spec.config.epochs, progress, listeners):
            return training_process(spec, 1, str(folder / "training.pt"), log)

    monkeypatch.setattr("magray.training.fit.train", train)
    monkeypatch.setattr("magray.training.fit.connect", lambda: None)
    monkeypatch.setattr("magray.training.ray.films_at_once", lambda spec, _: len(spec.film_ids))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return striped_store(tmp_path / "store", films=12)


@pytest.fixture
def killed_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Kill the training after the epoch KILLED_AFTER, once."""
    seen: list[int] = []
    add = EpochLog.add

    def add_or_die(log: EpochLog, epoch: int, *rest: Any) -> None:
        add(log, epoch, *rest)
        seen.append(epoch)
        if len(seen) == KILLED_AFTER:
            raise KeyboardInterrupt

    monkeypatch.setattr(EpochLog, "add", add_or_die)
    return seen


def fit_tracked(store: Store, folder: Path, *trackers: str) -> dict[str, float]:
    """Fit, and return the error bars of D, SI, by their names in trackers."""
    track = Tracking(trackers, folder)
    fit(store.uri, SHORT, SCALES, folder / "estimator", folder / "work", progress=False, track=track)
    calibration = Estimator.load(folder / "estimator").metadata.calibration
    names = [f"calibration_error/D/{scale:g}_um" for scale in calibration.scales_um]
    return dict(zip(names, calibration.errors["D"], strict=True))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")
def test_an_interrupted_fit_is_one_curve_in_both_trackers(store: Store, tmp_path: Path, killed_once: list[int]) -> None:
    """Its third epoch is trained twice, since the checkpoint is of the second."""
    from mlflow import MlflowClient

    with pytest.raises(KeyboardInterrupt):
        fit_tracked(store, tmp_path, "tensorboard", "mlflow")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name(store.campaign)
    assert experiment is not None
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["KILLED"]
    errors = fit_tracked(store, tmp_path, "tensorboard", "mlflow")
    assert killed_once == [1, 2, 3, 3, 4]

    (run,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [one.step for one in history] == [1, 2, 3, 4]
    assert run.info.status == "FINISHED"
    assert {"seed": "3", "learning_rate": "0.003", "train_set": "0.125+0.25"}.items() <= run.data.params.items()
    assert run.data.metrics["views_per_second"] > 0
    assert errors.items() <= run.data.metrics.items()

    (folder,) = (tmp_path / "tensorboard").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    assert [(one.step, one.value) for one in events.Scalars("loss")] == [
        (one.step, pytest.approx(one.value)) for one in history
    ]
    assert {name: events.Scalars(name)[0].value for name in errors} == pytest.approx(errors)
    assert parameters_in(events)["seed"] == 3
    assert parameters_in(events)["train_set"] == "0.125+0.25"


def parameters_in(events: EventAccumulator) -> dict[str, str | float]:
    """Return what TensorBoard's page of hyperparameters shows of a run."""
    content = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: value.string_value or value.number_value for name, value in values.items()}


def test_a_trial_of_a_search_is_a_run_with_its_parameters_and_its_errors_at_each_rung(tmp_path: Path) -> None:
    parameters = {"train_set": "0.5+1", "learning_rate": 3e-3, "schedule": "constant", "width": 1.0, "films": 40}
    row = parameters | {"trial": "0123456789ab", "budget": 900, "seed": 0, "step": "explore", "status": "stopped"}
    row |= {"curve": [0.4, 0.2], "worst": 0.2, "worst_scale": 0.5, "seconds": 3.0}
    track_trial(Tracking(["tensorboard"], tmp_path), "search", row)
    (folder,) = (tmp_path / "tensorboard").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    curve = [(one.step, one.value) for one in events.Scalars("worst_error")]
    assert curve == [(900 // EPOCHS, pytest.approx(0.4)), (300, pytest.approx(0.2))]
    assert parameters.items() <= parameters_in(events).items()


def test_a_tracker_that_fails_on_the_way_costs_a_warning_and_not_the_fit(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "events.out")

    monkeypatch.setattr("magray.tracking.tensorboard.TensorBoardRun.add", full)
    assert fit_tracked(store, tmp_path, "tensorboard")
    assert [record.message for record in caplog.records if record.name.startswith("magray")] == [
        "no longer tracked: events.out: no room left on the disk; free some space and run again"
    ]


def test_a_tracker_that_is_missing_or_unknown_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no tracker wandb; use tensorboard or mlflow"):
        Tracking(["wandb"], tmp_path)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match=r"MLflow is not installed: pip install 'magray\[mlflow\]'"):
        Tracking(["mlflow"], tmp_path)
    for command in ("fit", "search"):
        assert CliRunner().invoke(app, [command, "no.yaml", "--track", "wandb"]).exit_code == 2
