"""A fit learns what pictures show, also through a microscope. It runs here in this process, without Ray.

tests/cluster/test_fit.py has what a cluster adds: interruptions, dying processes, streams of films, several workers.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from magray.config import FitConfig, MicroscopeConfig, ScaleSet
from magray.errors import UserError
from magray.estimator.estimator import Estimator
from magray.evaluation.metrics import r2
from magray.evaluation.study import Trial, run_study
from magray.imaging import views
from magray.imaging.microscope import Microscope, apply_microscope
from magray.store import Store
from magray.store.store import read_row_index
from magray.training.fit import calibration_ids, fit
from magray.training.progress import EpochLog
from magray.training.ray import training_process
from magray.training.spec import TrainingSpec
from magray.training.trainer import State
from tests.support.stores import scattered_store
from tests.support.stripes import striped_store

SCALES = ScaleSet.parse("0.125+0.25")
SHORT = FitConfig(train_scales=[SCALES], epochs=6, views_per_epoch=192, batch=16, learning_rate=3e-3, width=0.5, seed=3)
WEAK_EYES = {"blur": ["4 nm", "8 nm"], "noise": [0.3, 0.6]}


@pytest.fixture(scope="module", autouse=True)
def in_this_process() -> Iterator[None]:
    """Train and test without a cluster, on one core."""

    def train(spec: TrainingSpec, workers: int, work_folder: Path, progress: bool, listeners: object) -> State:
        work_folder.mkdir(parents=True)
        return training_process(spec, 1, str(work_folder / "training.pt"), EpochLog(work_folder / "epochs.jsonl"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("magray.training.fit.train", train)
        patch.setattr("magray.training.ray.films_at_once", lambda spec, _: spec.films_at_once or len(spec.film_ids))
        for module in ("magray.training.fit", "magray.evaluation.study"):
            patch.setattr(f"{module}.connect", lambda: None)
        patch.setattr("magray.evaluation.study.gpus", lambda: 0)
        patch.setattr("magray.training.loader._read", lambda uri, row_index, *_: read_row_index(row_index, uri))
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return striped_store(tmp_path_factory.mktemp("stripes") / "store", films=60)


@pytest.fixture(scope="module")
def learned(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an estimator of D and Ms."""
    folder = tmp_path_factory.mktemp("learned")
    config = SHORT.model_copy(update={"targets": ["D", "Ms"], "epochs": 12, "views_per_epoch": 96})
    summary = fit(store.uri, config, SCALES, folder / "estimator", folder / "work", progress=False)
    assert summary.views == 12 * 192
    return folder / "estimator"


def test_two_parameters_are_learned_together(store: Store, learned: Path) -> None:
    """The width of stripes depends on D, the share of bright ones on Ms; films and views of the test are unseen."""
    _, study = run_study(store.uri, {Trial("all", 0): learned}, (0.25,))
    good = {row["parameter"]: row["r2"] > 0.7 for row in study.to_pylist() if row["train_set"] == "all"}
    assert good == {"D": True, "Ms": True}
    assert [target.name for target in Estimator.load(learned).targets] == ["D", "Ms"]


def test_a_fit_through_a_microscope_is_better_on_its_pictures(store: Store, learned: Path, tmp_path: Path) -> None:
    config = SHORT.model_copy(update={"microscope": MicroscopeConfig.model_validate(WEAK_EYES)})
    fit(store.uri, config, SCALES, tmp_path / "estimator", tmp_path / "work", progress=False)
    films = store.films("test")
    shown = views(torch.from_numpy(store.images(films["film_id"].to_pylist())), 0.25, 4.0)[:, 0]
    seen = apply_microscope(shown, 0.25, Microscope((4.0, 8.0), (0.3, 0.6))).numpy()
    r2s = []
    for folder in (tmp_path / "estimator", learned):
        estimator = Estimator.load(folder)
        r2s.append(
            r2(films["D"].to_numpy(), np.array([estimator.predict(one, scale_um=0.25).values["D"] for one in seen]))
        )
    assert r2s[0] > 0.6
    assert r2s[1] < r2s[0] - 0.2


def test_a_fit_of_streamed_films_is_as_good(learned: Path, tmp_path: Path) -> None:
    """It holds 20 of about 40 training films at a time."""
    store = scattered_store(tmp_path / "store", films=60, films_per_file=4)
    config = SHORT.model_copy(update={"films_at_once": 20, "epochs": 2, "views_per_epoch": 576})
    fit(store.uri, config, SCALES, tmp_path / "estimator", tmp_path / "work", progress=False)
    assert Estimator.load(tmp_path / "estimator").metadata.provenance["films_at_once"] == 20
    fits = {Trial("streamed", 0): tmp_path / "estimator", Trial("resident", 0): learned}
    _, study = run_study(store.uri, fits, (0.25,))
    r2 = {row["train_set"]: row["r2"] for row in study.to_pylist() if row["parameter"] == "D"}
    assert r2["streamed"] > 0.8
    assert r2["streamed"] > r2["resident"] - 0.15


def test_unsuitable_films_are_refused(store: Store, tmp_path: Path) -> None:
    for config, scales, reason in (
        (SHORT.model_copy(update={"targets": ["Ku1"]}), SCALES, "the same Ku1"),
        (SHORT, ScaleSet.parse("0.125..0.5"), "scale 0.5 µm is 128 cells, and the films have 64"),
    ):
        with pytest.raises(UserError, match=reason):
            fit(store.uri, config, scales, tmp_path / "estimator", tmp_path / "work", progress=False)
    assert not list(tmp_path.iterdir())


def test_the_choice_of_calibration_films_depends_on_their_ids_only() -> None:
    ids = [f"{i:024x}" for i in range(40)]
    chosen = calibration_ids(ids, 0.15)
    assert len(chosen) == 6
    assert chosen == calibration_ids(ids[::-1], 0.15)
