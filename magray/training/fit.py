"""Fit an estimator to the films of a store.

An interrupted fit continues from its last checkpoint when it is run again with the same films and settings.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from torch import nn

from magray.config import FitConfig, ScaleSet
from magray.environment import versions
from magray.errors import UserError
from magray.estimator.estimator import Estimator
from magray.estimator.metadata import Calibration, EstimatorMetadata, ParameterRange, Target
from magray.imaging import check_room
from magray.runtime.connect import connect
from magray.store import Store, open_store
from magray.tracking import NO_TRACKING, Runs, Tracking
from magray.training.config import TrainConfig
from magray.training.ray import train
from magray.training.spec import TrainingSpec
from magray.training.starting_point import StartingPoint

CONSTANTS = ("Ms", "Ku1", "Aex", "D", "sigma", "dz")  # columns whose ranges say which films an estimator is for


@dataclass(frozen=True)
class FitSummary:
    """A finished fit. loss: of its last epoch, in variances of the targets. seconds: of this call, with start-up."""

    folder: Path
    training_films: int
    calibration_films: int
    views: int
    loss: float
    seconds: float


def fit(
    store_uri: str,
    config: FitConfig,
    train_set: ScaleSet,
    folder: str | Path,
    work_folder: str | Path,
    progress: bool = True,
    track: Tracking = NO_TRACKING,
) -> FitSummary:
    """Fit an estimator of `config.targets` to the store's training films at the scales of `train_set`.

    The estimator is saved to `folder`, checkpoints to `work_folder`, which all nodes must be able to read.
    track: the trackers that get a run of the fit. An interrupted fit goes on in the same run.
    Raises UserError if the store has too few films, a target is the same in all of them, or the fit cannot start from
    the estimator that the config names, or a tracker is unreachable.
    """
    start = time.monotonic()
    connect()
    store = open_store(store_uri)
    spec = _training_spec(store, config, train_set)
    name = f"fit {train_set} seed {config.seed}"
    with track.run(store.campaign, name, spec.name, _parameters(spec, train_set)) as runs:
        state = train(spec, config.workers, Path(work_folder).absolute(), progress, [partial(_track_epoch, runs)])
        runs.end(_calibration_errors(Calibration(**state["calibration"])))
    provenance = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "campaign": store.campaign,
        "fit": config.model_dump(mode="json", exclude={"train_scales"}),
        "views": state["views"] * config.epochs,
        "films_at_once": state["films_at_once"],
        "loss": state["loss"],
        "versions": {name: versions()[name] for name in ("magray", "ray", "torch")},
    }
    if spec.start is not None:
        provenance["start"] = spec.start.provenance()
    network = spec.network()
    network.load_state_dict(state["network"])
    calibration = Calibration(**state["calibration"])
    _estimator(spec, network, calibration, provenance).save(folder)
    return FitSummary(
        folder=Path(folder),
        training_films=len(spec.film_ids),
        calibration_films=calibration.films,
        views=provenance["views"],
        loss=state["loss"],
        seconds=time.monotonic() - start,
    )


def _parameters(spec: TrainingSpec, train_set: ScaleSet) -> dict[str, str | int | float]:
    """Return the parameters of a fit, for trackers."""
    config = spec.config
    return {
        "train_set": str(train_set),
        "targets": " ".join(target.name for target in spec.targets),
        "films": len(spec.film_ids),
        "seed": config.seed,
        "learning_rate": config.learning_rate,
        "schedule": config.schedule,
        "epochs": config.epochs,
        "batch": config.batch,
        "weight_decay": config.weight_decay,
        "network": config.network,
        "width": config.width,
    }


def _track_epoch(runs: Runs, epoch: int, loss: float, views: int, seconds: float) -> None:
    """Add an epoch to the runs of a fit."""
    runs.add({"loss": loss, "views_per_second": views / seconds}, epoch)


def _calibration_errors(calibration: Calibration) -> dict[str, float]:
    """Return the error bars of one view, SI, by their names in trackers: calibration_error/D/0.5_um."""
    return {
        f"calibration_error/{name}/{scale:g}_um": error
        for name, errors in calibration.errors.items()
        for scale, error in zip(calibration.scales_um, errors, strict=True)
    }


def _training_spec(store: Store, config: FitConfig, train_set: ScaleSet) -> TrainingSpec:
    """Return the training spec of `config` for the films of a store, at the scales of a set."""
    training, calibration = _divided(store, config)
    pixel_nm = float(training["pixel_nm"][0].as_py())
    shape = (training["height"][0].as_py(), training["width"][0].as_py())
    check_room(train_set.scales_um, pixel_nm, min(shape))
    return TrainingSpec(
        store_uri=store.uri,
        film_ids=tuple(training["film_id"].to_pylist()),
        calibration_ids=tuple(calibration["film_id"].to_pylist()),
        targets=tuple(target_of(store, name, training[name].to_numpy()) for name in config.targets),
        constants=tuple(_range_of(store, name, training[name]) for name in CONSTANTS),
        protocols=tuple(sorted(training["protocol"].unique().to_pylist())),
        scales_um=train_set.scales_um,
        pixel_nm=pixel_nm,
        shape=shape,
        films_at_once=config.films_at_once,
        config=TrainConfig.of(config.model_dump()).drawn_from(train_set),
        start=StartingPoint.of(config),
    )


def _estimator(
    spec: TrainingSpec, network: nn.Module, calibration: Calibration, provenance: Mapping[str, Any]
) -> Estimator:
    """Return a trained network, now in evaluation mode, as an estimator."""
    metadata = EstimatorMetadata(
        spec.targets,
        spec.scales_um,
        len(spec.film_ids),
        calibration,
        provenance,
        network=spec.config.network,
        width=spec.config.width,
        between=spec.config.scales_drawn == "between",
        microscope=spec.config.microscope,
        constants=spec.constants,
        protocols=spec.protocols,
    )
    return Estimator(network, metadata)


def calibration_ids(film_ids: list[str], fraction: float) -> set[str]:
    """Return the `fraction` of training films, at least one, reserved for calibration; it depends on their ids only."""
    ordered = sorted(film_ids, key=lambda film_id: hashlib.sha256(film_id.encode()).digest())
    return set(ordered[: max(1, round(fraction * len(ordered)))])


def _divided(store: Store, config: FitConfig) -> tuple[pa.Table, pa.Table]:
    """Return the films to train on and those to calibrate with: film_id, sizes, targets, CONSTANTS, protocol."""
    columns = dict.fromkeys(["film_id", "pixel_nm", "height", "width", *config.targets, *CONSTANTS, "protocol"])
    table = store.films("train", list(columns))
    if table.num_rows < 2:
        raise UserError(
            f"store {store.uri} has {table.num_rows} training films, and a fit needs 2 or more; simulate more"
        )
    check_finite(store, table, ["pixel_nm", *config.targets, *CONSTANTS])
    check_one_cell_size(store, table)
    if len(table.group_by(["height", "width"]).aggregate([])) > 1:
        raise UserError(f"store {store.uri} holds films of several sizes; fit those of one")
    kept = calibration_ids(table["film_id"].to_pylist(), config.calibration_fraction)
    calibrating = pc.field("film_id").isin(sorted(kept))
    return table.filter(~calibrating), table.filter(calibrating)


def check_finite(store: Store, films: pa.Table, names: Sequence[str]) -> None:
    """Raise UserError that names a film unless all numbers in the columns `names` are finite."""
    for name in names:
        finite = pc.fill_null(pc.is_finite(films[name]), False)
        if not pc.all(finite).as_py():
            film_id = films.filter(pc.invert(finite))["film_id"][0]
            raise UserError(
                f"store {store.uri}: film {film_id} has a {name} that is not a finite number; magray store verify "
                "names all such films"
            )


def check_one_cell_size(store: Store, films: pa.Table) -> None:
    """Raise UserError unless all films have cells of one size."""
    if len(films["pixel_nm"].unique()) > 1:
        raise UserError(f"store {store.uri} holds films of several cell sizes; use a store with films of one")


def target_of(store: Store, name: str, values: NDArray[np.float64]) -> Target:
    """Return the target `name` with the statistics of its values in the training films, SI.

    Raises UserError if all values are the same.
    """
    unit = _unit(store, name)
    std = float(values.std())
    if std <= 1e-9 * np.abs(values).max():
        raise UserError(f"all training films have the same {name}, so nothing can be learned of it; give it a range")
    return Target(name, unit, float(values.mean()), std, float(values.min()), float(values.max()))


def _range_of(store: Store, name: str, values: pa.ChunkedArray) -> ParameterRange:
    """Return the range of a constant over the training films."""
    low, high = (extreme.as_py() for extreme in (pc.min(values), pc.max(values)))
    return ParameterRange(name, _unit(store, name), low, high)


def _unit(store: Store, name: str) -> str:
    """Return the SI unit of a column of the store."""
    return str(store.schema.field(name).metadata[b"unit"].decode())
