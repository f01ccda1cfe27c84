"""The trials of a search without Ray: their films, their training, and their errors at each test scale."""

import hashlib
import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import nn

from magray.config import FitConfig, SearchConfig
from magray.errors import UserError
from magray.estimator.metadata import Target, standardised
from magray.estimator.predictor import Predictor
from magray.imaging import cells_of, check_room, scale_of
from magray.network.execution import ExecutionConfig
from magray.search.trials import Candidate
from magray.store import Store
from magray.training.checkpoint import save_state
from magray.training.config import TrainConfig
from magray.training.crops import FilmBatch, scale_count
from magray.training.fit import calibration_ids, check_finite, check_one_cell_size, target_of
from magray.training.spec import target_values
from magray.training.starting_point import StartingPoint
from magray.training.trainer import Trainer

EPOCHS = 9  # into which the budget of a trial is divided
RUNGS = (1, 3, 9)  # epochs after which the errors are measured, and a trial may be stopped
EARLY_RUNGS_FILMS = 4  # rungs before the last test one film in this many, enough to tell which trials are behind
GRID = tuple(round(0.05 * step, 2) for step in range(8, 41))  # test scales by default: 0.4 to 2.0 µm


@dataclass(frozen=True)
class SearchDataset:
    """The films that the trials of a search are trained and tested on, all from the training split of a store.

    images (n, ny, nx) uint8 and values (n, t), SI: of the films to train on, shuffled, so that the first of them are a
    random subset. tests, true: the same for the films to test on. made_from: a fingerprint of films and settings.
    """

    images: NDArray[np.uint8]
    values: NDArray[np.float64]
    tests: NDArray[np.uint8]
    true: NDArray[np.float64]
    targets: tuple[Target, ...]
    pixel_nm: float
    test_scales: tuple[float, ...]
    train_config: TrainConfig
    made_from: str
    start: StartingPoint | None = None  # None: random weights

    def train_config_of(self, candidate: Candidate) -> TrainConfig:
        """Return the project's training config with the changes of a candidate, whose budget EPOCHS epochs share."""
        train_config = self.train_config.drawn_from(candidate.train_set)
        return replace(
            train_config,
            epochs=EPOCHS,
            views_per_epoch=candidate.budget // EPOCHS // scale_count(candidate.scales, train_config),
            width=candidate.width,
            learning_rate=candidate.learning_rate,
            schedule=candidate.schedule,
            seed=candidate.seed,
        )


@dataclass(frozen=True)
class Evaluation:
    """The errors of a trial after `part` epochs, as parts of a parameter's range.

    curve: the worst error at each rung so far. errors: at each test scale.
    """

    part: int
    views: int
    seconds: float
    curve: tuple[float, ...]
    errors: tuple[float, ...]


def prepare(store: Store, fit: FitConfig, search: SearchConfig) -> SearchDataset:
    """Return the dataset of a search over the films of a store, for a project with the config `fit`.

    Raises UserError if there are too few films, or they have several cell sizes, the same value of a target, or less
    width than a scale; and if a width of the search is not that of the estimator that its fits start from.
    """
    start = StartingPoint.of(fit)
    if start is not None:
        for width in (1.0, *search.widths):  # 1: of ranges and exhaustive searches
            start.check_width(width, "widths of the search")
    films = store.films("train", ["film_id", "pixel_nm", "width", "height", *fit.targets])
    if films.num_rows < 4:
        raise UserError(
            f"store {store.uri} has {films.num_rows} training films, and a search needs 4 or more; simulate more"
        )
    check_finite(store, films, ["pixel_nm", *fit.targets])
    check_one_cell_size(store, films)
    pixel_nm, side = films["pixel_nm"][0].as_py(), min(pc.min(films[name]).as_py() for name in ("width", "height"))
    ends = [scale for train_set in search.ranges for scale in train_set.scales_um]
    check_room([*search.scales, *ends, *(search.test_scales or ())], pixel_nm, side)
    test_scales = tuple(sorted(search.test_scales or [scale for scale in GRID if _fits(scale, pixel_nm, side)]))
    if not test_scales:
        raise UserError(f"the films are {scale_of(side, pixel_nm):.2g} µm wide, below {GRID[0]} µm; give test_scales")
    films = _shuffled(films)
    test_ids = sorted(calibration_ids(films["film_id"].to_pylist(), fit.calibration_fraction))
    testing = pc.is_in(films["film_id"], value_set=pa.array(test_ids, pa.string()))
    trained, tested = films.filter(pc.invert(testing)), films.filter(testing)
    train_config = TrainConfig.of(fit.model_dump())
    common = replace(
        train_config, epochs=0, learning_rate=0.0, views_per_epoch=None, schedule="one-cycle", width=1.0, seed=0
    )
    facts = [films["film_id"].to_pylist(), test_ids, fit.targets, test_scales, asdict(common)]
    facts += [start.sha256] if start else []
    return SearchDataset(
        images=store.images(trained["film_id"].to_pylist()),
        values=target_values(trained, fit.targets),
        tests=store.images(tested["film_id"].to_pylist()),
        true=target_values(tested, fit.targets),
        targets=tuple(target_of(store, name, trained[name].to_numpy()) for name in fit.targets),
        pixel_nm=pixel_nm,
        test_scales=test_scales,
        train_config=train_config,
        made_from=hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16],
        start=start,
    )


def learn(dataset: SearchDataset, candidate: Candidate, device: torch.device, saved: Path) -> Iterator[Evaluation]:
    """Train a candidate, and yield an evaluation at each of RUNGS.

    saved: file of the state after the last rung. If it exists, training continues from there, and the first evaluation
    is the saved one.
    """
    trainer = _trainer(dataset, candidate, device)
    evaluation = Evaluation(0, 0, 0.0, (), ())
    if saved.exists():
        state = torch.load(saved, map_location=device, weights_only=True)
        trainer.load(state["training"])
        evaluation = _evaluation_of(state["look"])
        yield evaluation
    while trainer.epoch < EPOCHS:
        start = time.monotonic()
        trainer.run_epoch()
        if trainer.epoch not in RUNGS:
            evaluation = replace(evaluation, seconds=evaluation.seconds + time.monotonic() - start)
            continue
        trainer.recalibrate_batch_norm()
        every = 1 if trainer.epoch == EPOCHS else EARLY_RUNGS_FILMS
        predictor = Predictor(trainer.network, dataset.targets, trainer.config.microscope)
        errors = errors_of(predictor, dataset, every)
        seconds = evaluation.seconds + time.monotonic() - start
        evaluation = Evaluation(
            trainer.epoch, trainer.views * trainer.epoch, seconds, (*evaluation.curve, max(errors)), errors
        )
        state = {"training": trainer.state(), "look": _plain(evaluation), "candidate": candidate.row()}
        save_state(state, saved)
        yield evaluation


def errors_of(predictor: Predictor, dataset: SearchDataset, every: int = 1) -> tuple[float, ...]:
    """Return the mean absolute error of the worst target at each test scale, as a part of the target's range.

    every: one film in this many is tested.
    """
    ranges = np.array([target.high - target.low for target in dataset.targets])
    films, true, errors = _tensor(dataset.tests[::every]).to(predictor.device), dataset.true[::every], []
    for scale in dataset.test_scales:
        absolute = np.abs(predictor.predict_films(films, scale, dataset.pixel_nm) - true[:, None])
        errors.append(float((absolute.mean(axis=(0, 1)) / ranges).max()))
    return tuple(errors)


def _trainer(dataset: SearchDataset, candidate: Candidate, device: torch.device) -> Trainer:
    """Return a trainer of a candidate with its number of films."""
    sides = tuple(cells_of(scale, dataset.pixel_nm) for scale in candidate.scales)
    values, n = standardised(dataset.values, dataset.targets).to(device), candidate.films
    films = FilmBatch(_resident(dataset, device)[:n], values[:n], sides, scale_of(1, dataset.pixel_nm))

    def initialise(network: nn.Module) -> None:
        if dataset.start is not None:
            dataset.start.initialise(network, dataset.targets, candidate.scales)

    # compilation would take longer than the trial
    execution = replace(ExecutionConfig.of(device), compiled=False)
    return Trainer(films, dataset.train_config_of(candidate), execution=execution, initialise=initialise)


_on_device: dict[tuple[str, str], torch.Tensor] = {}  # kept, because a process runs one trial after another


def _resident(dataset: SearchDataset, device: torch.device) -> torch.Tensor:
    """Return the pictures to train on, on the device; on a CPU without a copy, in memory that processes share."""
    key = (dataset.made_from, str(device))
    if key not in _on_device:
        _on_device.clear()
        _on_device[key] = _tensor(dataset.images).to(device)
    return _on_device[key]


def _tensor(images: NDArray[np.uint8]) -> torch.Tensor:
    """Return `images` as a tensor without a copy. They lie in Ray's object store, which is read-only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(images)


def _evaluation_of(plain: dict[str, Any]) -> Evaluation:
    """Return the evaluation from which `_plain` made a dictionary."""
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
    return Evaluation(**values)


def _plain(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as a dictionary of built-in types, since torch.load reads no others."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(evaluation).items()}


def _fits(scale: float, pixel_nm: float, side: int) -> bool:
    """Return whether `scale` is a whole number of cells and fits into films of `side` cells."""
    try:
        return cells_of(scale, pixel_nm) <= side
    except UserError:
        return False


def _shuffled(films: pa.Table) -> pa.Table:
    """Return the films in the order of a hash of their ids, which is unrelated to their content and never changes."""
    ids = films["film_id"].to_pylist()
    order = sorted(range(len(ids)), key=lambda i: hashlib.sha256(ids[i].encode()).digest())
    return films.take(pa.array(order))
