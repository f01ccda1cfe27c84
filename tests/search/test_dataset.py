"""A trial of a search: its films, its errors, and its continuation after an interruption."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from magray.config import FitConfig, ScaleSet, SearchConfig
from magray.errors import UserError
from magray.estimator.estimator import Estimator
from magray.estimator.metadata import Calibration, EstimatorMetadata
from magray.estimator.predictor import Predictor
from magray.network.branches import paper_cnn
from magray.search.dataset import SearchDataset, errors_of, learn, prepare
from magray.search.trials import Candidate
from magray.store import Store
from tests.support.stripes import striped_store

CPU = torch.device("cpu")
FIT = FitConfig(targets=["D", "Ms"], train_scales=[ScaleSet.parse("0.25")], epochs=1, batch=8, learning_rate=3e-3)
SETTINGS = SearchConfig(
    project=Path("project.yaml"),
    tolerance=0.1,
    views=[72],
    trials=1,
    learning_rates=(1e-3, 1e-2),
    scales=[0.125, 0.25],
    test_scales=[0.125, 0.25],
)
CANDIDATE = Candidate(ScaleSet.parse("0.125+0.25"), 3e-3, "cosine", 144, 12, 1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return striped_store(tmp_path_factory.mktemp("stripes") / "store", films=30)


@pytest.fixture(scope="module")
def dataset(store: Store) -> SearchDataset:
    return prepare(store, FIT, SETTINGS)


def test_no_trial_sees_the_test_split_nor_learns_from_what_it_is_tested_on(
    store: Store, dataset: SearchDataset
) -> None:
    films = store.table(["film_id", "split", "D"]).to_pylist()
    pictures = {store.images([film["film_id"]]).tobytes(): film["split"] for film in films}
    learned, tested = ([image.tobytes() for image in images] for images in (dataset.images, dataset.tests))
    assert {pictures[image] for image in [*learned, *tested]} == {"train"}
    assert not set(learned) & set(tested)
    assert len(learned) + len(tested) == sum(film["split"] == "train" for film in films)


def test_the_error_is_of_the_worst_target_and_of_its_range(dataset: SearchDataset) -> None:
    """A network without weights estimates the mean of the training films at every scale."""
    network = paper_cnn(2)
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    nothing = Predictor(network, dataset.targets)
    expected = [
        np.abs(dataset.true[:, i] - target.mean).mean() / (target.high - target.low)
        for i, target in enumerate(dataset.targets)
    ]
    assert errors_of(nothing, dataset) == pytest.approx([max(expected)] * 2)


def test_trials_begin_where_the_projects_fits_do(store: Store, dataset: SearchDataset, tmp_path: Path) -> None:
    """After a rung at the smallest learning rate a network still has the layers of the estimator."""
    targets = dataset.targets[:1]
    calibration = Calibration((0.25,), {"D": (1e-5,)}, films=9)
    former = Estimator(paper_cnn(1), EstimatorMetadata(targets, (0.25,), 80, calibration, {}))
    former.save(tmp_path / "former")
    fit = FIT.model_copy(update={"start_from": str(tmp_path / "former")})
    tuned = prepare(store, fit, SETTINGS)
    assert tuned.made_from != dataset.made_from
    next(learn(tuned, replace(CANDIDATE, learning_rate=1e-9), CPU, tmp_path / "trial.pt"))
    trained = torch.load(tmp_path / "trial.pt", weights_only=True)["training"]["network"]
    torch.testing.assert_close(trained["0.weight"], former.network.state_dict()["0.weight"], rtol=0, atol=1e-7)
    with pytest.raises(UserError, match=r"^fit.start_from: .* one of 2 \(widths of the search\) cannot start$"):
        prepare(store, fit, SETTINGS.model_copy(update={"widths": [1.0, 2.0]}))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Use one thread, as a trial does; later tests in this process get their threads back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_an_interrupted_trial_continues_and_ends_the_same(
    dataset: SearchDataset, one_thread: None, tmp_path: Path
) -> None:
    whole = list(learn(dataset, CANDIDATE, CPU, tmp_path / "whole.pt"))
    assert [evaluation.part for evaluation in whole] == [1, 3, 9]
    assert whole[-1].views == CANDIDATE.budget
    saved = tmp_path / "saved.pt"
    for evaluation in learn(dataset, CANDIDATE, CPU, saved):
        if evaluation.part == 3:
            break
    rest = list(learn(dataset, CANDIDATE, CPU, saved))
    assert [evaluation.part for evaluation in rest] == [3, 9]
    assert rest[-1].errors == whole[-1].errors
    assert rest[-1].curve == whole[-1].curve
    (again,) = learn(dataset, CANDIDATE, CPU, saved)
    assert again.errors == whole[-1].errors


def test_what_cannot_be_searched_over_is_refused(store: Store, tmp_path: Path) -> None:
    few = striped_store(tmp_path / "few", films=3)
    for place, fit, changes, reason in (
        (few, {}, {}, "training films, and a search needs 4 or more"),
        (store, {"targets": ["Ku1"]}, {}, "the same Ku1"),
        (store, {}, {"scales": [0.5]}, "scale 0.5 µm is 128 cells, and the films have 64"),
        (store, {}, {"test_scales": [0.25, 1.0]}, "scale 1 µm is 256 cells"),
        (store, {}, {"test_scales": None}, "the films are 0.25 µm wide, below 0.4 µm; give test_scales"),
    ):
        with pytest.raises(UserError, match=reason):
            prepare(place, FIT.model_copy(update=fit), SETTINGS.model_copy(update=changes))
