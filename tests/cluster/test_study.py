"""The two tables of a study have the estimates and their scores, for films of the test split only."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from magray.errors import UserError
from magray.estimator.estimator import Estimator
from magray.estimator.metadata import Calibration, EstimatorMetadata, Target
from magray.evaluation.study import PREDICTIONS, STUDY, Trial, run_study
from magray.imaging import views
from magray.network.branches import paper_cnn
from magray.store import Store
from tests.support.stripes import striped_store

D = Target("D", "J/m2", mean=0.5e-3, spread=0.2e-3, low=0.2e-3, high=0.8e-3)
MS = Target("Ms", "A/m", mean=1.0e6, spread=0.3e6, low=0.5e6, high=1.5e6)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return striped_store(tmp_path_factory.mktemp("stripes") / "store", films=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an untrained estimator of D and Ms."""
    folder = tmp_path_factory.mktemp("estimator")
    torch.manual_seed(0)
    errors = {"D": (1e-5,), "Ms": (1e4,)}
    Estimator(paper_cnn(2), EstimatorMetadata((D, MS), (0.25,), 16, Calibration((0.25,), errors, 3), {})).save(folder)
    return folder


def test_predictions_are_the_estimators_of_every_view_of_the_test_films(
    ray_cluster: None, store: Store, folder: Path
) -> None:
    predictions, _ = run_study(store.uri, {Trial("0.25", 0): folder}, (0.125, 0.25))
    films = store.table(["film_id", "D"], pc.field("split") == "test")
    assert predictions.schema == PREDICTIONS
    mine = predictions.filter(pc.field("train_set") == "0.25")
    assert mine.num_rows == films.num_rows * (4 + 1) * 2

    film_id = films["film_id"][0].as_py()
    wanted = (pc.field("film_id") == film_id) & (pc.field("parameter") == "D") & (pc.field("test_scale") == 0.125)
    rows = mine.filter(wanted).sort_by("view")
    expected = Estimator.load(folder).predict_views(views(store.images([film_id]), 0.125, 4.0)[0])[:, 0]
    np.testing.assert_allclose(rows["estimated"].to_numpy(), expected, rtol=1e-2)
    assert set(rows["set_value"].to_pylist()) == {films["D"][0].as_py()}


def test_the_table_distinguishes_trained_from_untrained_scales(ray_cluster: None, store: Store, folder: Path) -> None:
    predictions, study = run_study(store.uri, {Trial("a", 3): folder, Trial("b", 0): folder}, (0.125, 0.25))
    assert study.schema == STUDY
    names = ("train_set", "seed", "test_scale", "trained")
    assert [tuple(row[name] for name in names) for row in study.to_pylist()[::2]] == [
        ("a", 3, 0.125, False),
        ("a", 3, 0.25, True),
        ("b", 0, 0.125, False),
        ("b", 0, 0.25, True),
        ("two-numbers", 0, 0.125, False),  # the baseline, of D and then of Ms
        ("two-numbers", 0, 0.125, False),
    ]
    assert study["unit"].to_pylist()[:2] == ["J/m2", "A/m"]
    row = study.to_pylist()[0]
    mine = (pc.field("train_set") == "a") & (pc.field("test_scale") == 0.125) & (pc.field("parameter") == "D")
    errors = pc.subtract(*(predictions.filter(mine)[name] for name in ("estimated", "set_value")))
    assert row["bias"] == pytest.approx(pc.mean(errors).as_py())
    assert row["n"] == len(errors)


def test_errors_at_the_ends_of_the_range_are_separate(ray_cluster: None, store: Store, folder: Path) -> None:
    """An untrained estimator gives all films the same D: too large where D is small, too small where it is large."""
    predictions, study = run_study(store.uri, {Trial("a", 0): folder}, (0.25,))
    row = study.to_pylist()[0]
    true, estimated = (
        predictions.filter((pc.field("parameter") == "D") & (pc.field("train_set") == "a"))[name].to_numpy()
        for name in ("set_value", "estimated")
    )
    lowest = true <= true.min() + 0.1 * np.ptp(true)
    assert row["bias_low"] == pytest.approx(np.mean(estimated[lowest] - true[lowest]))
    assert row["bias_low"] > row["bias"] > row["bias_high"]


def test_a_store_without_test_films_is_refused(ray_cluster: None, folder: Path, tmp_path: Path) -> None:
    lonely = striped_store(tmp_path / "store", films=1)
    assert lonely.table(["split"])["split"].to_pylist() == ["train"]
    with pytest.raises(UserError, match="no test films"):
        run_study(lonely.uri, {Trial("a", 0): folder}, (0.25,))
