"""A short fit of a search: learns from some films, and says how wrong it is on others, scale by scale. Knows no Ray."""

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
from magray.training.trainer import Trainer

EPOCHS = 9  # of a budget: an epoch each
RUNGS = (1, 3, 9)  # the parts after which the errors are measured, and a trial may be stopped
EARLY_RUNGS_FILMS = 4  # those before the last see one film in so many: that tells which trials are behind
GRID = tuple(round(0.05 * step, 2) for step in range(8, 41))  # 0.4 to 2.0 µm: where pictures may be


@dataclass(frozen=True)
class SearchDataset:
    """The films that a search's trials are trained and tested on: all of the training split, none of the test split.

    images (n, ny, nx) uint8 and values (n, t), SI: of films in an order that means nothing, so that the first of them
    are as good as any. tests, true: the same of the films that tell the errors.
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

    def train_config_of(self, candidate: Candidate) -> TrainConfig:
        """Return the project's training config with a candidate's changes: EPOCHS epochs that share its budget."""
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
    """The errors after a part of a trial. curve: the worst error at each rung so far. errors: at each test scale."""

    part: int
    views: int
    seconds: float
    curve: tuple[float, ...]
    errors: tuple[float, ...]


def prepare(store: Store, fit: FitConfig, search: SearchConfig) -> SearchDataset:
    """The course of a search over the films of a store, for a project that fits as `fit` says.

    Raises UserError if the films are too few, of several cell sizes, all alike in a target, or smaller than a scale.
    """
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
    kept = calibration_ids(films["film_id"].to_pylist(), fit.calibration_fraction)
    testing = pc.is_in(films["film_id"], value_set=pa.array(sorted(kept), pa.string()))
    learned, tested = films.filter(pc.invert(testing)), films.filter(testing)
    train_config = TrainConfig.of(fit.model_dump())
    common = replace(
        train_config, epochs=0, learning_rate=0.0, views_per_epoch=None, schedule="one-cycle", width=1.0, seed=0
    )
    facts = [films["film_id"].to_pylist(), sorted(kept), fit.targets, test_scales, asdict(common)]
    return SearchDataset(
        images=store.images(learned["film_id"].to_pylist()),
        values=target_values(learned, fit.targets),
        tests=store.images(tested["film_id"].to_pylist()),
        true=target_values(tested, fit.targets),
        targets=tuple(target_of(store, name, learned[name].to_numpy()) for name in fit.targets),
        pixel_nm=pixel_nm,
        test_scales=test_scales,
        train_config=train_config,
        made_from=hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16],
    )


def learn(dataset: SearchDataset, candidate: Candidate, device: torch.device, saved: Path) -> Iterator[Evaluation]:
    """Train, and looks up after each of LOOKS. Goes on from the look that is in the file `saved`, and keeps it there.

    The first look of a trial that goes on is the saved one.
    """
    trainer = _training(dataset, candidate, device)
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
    """At each test scale, the mean absolute error on the test films, of the target's range; of the worst target.

    every: one film in so many is looked at.
    """
    spans = np.array([target.high - target.low for target in dataset.targets])
    films, true, errors = _tensor(dataset.tests[::every]).to(predictor.device), dataset.true[::every], []
    for scale in dataset.test_scales:
        wrong = np.abs(predictor.predict_films(films, scale, dataset.pixel_nm) - true[:, None])
        errors.append(float((wrong.mean(axis=(0, 1)) / spans).max()))
    return tuple(errors)


def _training(dataset: SearchDataset, candidate: Candidate, device: torch.device) -> Trainer:
    sides = tuple(cells_of(scale, dataset.pixel_nm) for scale in candidate.scales)
    values, n = standardised(dataset.values, dataset.targets).to(device), candidate.films
    films = FilmBatch(_resident(dataset, device)[:n], values[:n], sides, scale_of(1, dataset.pixel_nm))
    # a trial is over before a compiler would be done
    return Trainer(
        films, dataset.train_config_of(candidate), execution=replace(ExecutionConfig.of(device), compiled=False)
    )


_on_device: dict[tuple[str, str], torch.Tensor] = {}  # a process has one trial after the other: its films stay


def _resident(dataset: SearchDataset, device: torch.device) -> torch.Tensor:
    """The pictures to learn from, on the device. On a CPU they stay where they are, shared by all processes."""
    place = (dataset.made_from, str(device))
    if place not in _on_device:
        _on_device.clear()
        _on_device[place] = _tensor(dataset.images).to(device)
    return _on_device[place]


def _tensor(images: NDArray[np.uint8]) -> torch.Tensor:
    """`images` as they lie in memory, which Ray's object store does not let anybody change, and nobody here does."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(images)


def _evaluation_of(plain: dict[str, Any]) -> Evaluation:
    """The look that `_plain` made these of."""
    kept: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
    return Evaluation(**kept)


def _plain(evaluation: Evaluation) -> dict[str, Any]:
    """For torch.load, which knows no classes of ours."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(evaluation).items()}


def _fits(scale: float, pixel_nm: float, side: int) -> bool:
    """Return whether `scale` is a whole number of cells and fits into films of `side` cells."""
    try:
        return cells_of(scale, pixel_nm) <= side
    except UserError:
        return False


def _shuffled(films: pa.Table) -> pa.Table:
    """In the order of a hash of their ids, which says nothing of a film and never changes."""
    ids = films["film_id"].to_pylist()
    order = sorted(range(len(ids)), key=lambda i: hashlib.sha256(ids[i].encode()).digest())
    return films.take(pa.array(order))
