"""A study's two tables say what was estimated, and how well, on films of the test split alone."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from magray.errors import UserError
from magray.imaging import views
from magray.learning.estimator import Calibration, Description, Estimator, Target
from magray.learning.network import paper_cnn
from magray.store import Store
from magray.tolerance.study import PREDICTIONS, STUDY, run_study
from tests.stripes import striped_store

D = Target("D", "J/m2", mean=0.5e-3, spread=0.2e-3, low=0.2e-3, high=0.8e-3)
MS = Target("Ms", "A/m", mean=1.0e6, spread=0.3e6, low=0.5e6, high=1.5e6)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return striped_store(tmp_path_factory.mktemp("stripes") / "store", films=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained estimator of D and Ms."""
    folder = tmp_path_factory.mktemp("estimator")
    torch.manual_seed(0)
    errors = {"D": (1e-5,), "Ms": (1e4,)}
    Estimator(paper_cnn(2), Description((D, MS), (0.25,), 16, Calibration((0.25,), errors, 3), {})).save(folder)
    return folder


def test_predictions_are_the_estimators_of_every_view_of_the_test_films(store: Store, folder: Path) -> None:
    predictions, _ = run_study(store.uri, {"0.25": folder}, (0.125, 0.25))
    films = store.table(["film_id", "D"], pc.field("split") == "test")
    assert predictions.schema == PREDICTIONS
    assert predictions.num_rows == films.num_rows * (4 + 1) * 2

    film_id = films["film_id"][0].as_py()
    mine = (pc.field("film_id") == film_id) & (pc.field("parameter") == "D") & (pc.field("test_scale") == 0.125)
    rows = predictions.filter(mine).sort_by("view")
    expected = Estimator.load(folder).predict_views(views(store.images([film_id]), 0.125, 4.0)[0])[:, 0]
    np.testing.assert_allclose(rows["estimated"].to_numpy(), expected, rtol=1e-2)
    assert set(rows["set_value"].to_pylist()) == {films["D"][0].as_py()}


def test_the_table_tells_trained_from_untrained_scales(store: Store, folder: Path) -> None:
    predictions, study = run_study(store.uri, {"a": folder, "b": folder}, (0.125, 0.25))
    assert study.schema == STUDY
    assert [(row["train_set"], row["test_scale"], row["trained"]) for row in study.to_pylist()[::2]] == [
        ("a", 0.125, False),
        ("a", 0.25, True),
        ("b", 0.125, False),
        ("b", 0.25, True),
    ]
    assert study["unit"].to_pylist()[:2] == ["J/m2", "A/m"]
    row = study.to_pylist()[0]
    mine = (pc.field("train_set") == "a") & (pc.field("test_scale") == 0.125) & (pc.field("parameter") == "D")
    errors = pc.subtract(*(predictions.filter(mine)[name] for name in ("estimated", "set_value")))
    assert row["bias"] == pytest.approx(pc.mean(errors).as_py())
    assert row["n"] == len(errors)


def test_a_store_without_test_films_is_refused(folder: Path, tmp_path: Path) -> None:
    lonely = striped_store(tmp_path / "store", films=1)
    assert lonely.table(["split"])["split"].to_pylist() == ["train"]
    with pytest.raises(UserError, match="no test films"):
        run_study(lonely.uri, {"a": folder}, (0.25,))
