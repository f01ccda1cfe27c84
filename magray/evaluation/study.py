"""A study: every estimator on every test scale, over films of the test split."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import torch
from numpy.typing import NDArray

from magray.errors import UserError
from magray.estimator.estimator import Estimator
from magray.evaluation.baseline import Baseline
from magray.evaluation.metrics import bias, mae, r2
from magray.files.parquet import complete
from magray.imaging import over_views
from magray.imaging.microscope import Microscope
from magray.network.branches import own_device
from magray.runtime.connect import connect
from magray.runtime.resources import gpus
from magray.store import Store, open_store
from magray.training.fit import check_finite

TWO_NUMBERS = "two-numbers"
GPU_SHARE = 0.25  # of a test: most of it is a process that starts, reads films and counts
END = 0.1  # of the range of set values: what its ends are

PREDICTIONS = complete(
    [
        ("train_set", pa.string()),
        ("seed", pa.int64()),
        ("test_scale", pa.float64()),  # µm
        ("film_id", pa.string()),
        ("view", pa.int32()),  # its place among the squares that tile the film
        ("parameter", pa.string()),
        ("set_value", pa.float64()),  # SI
        ("estimated", pa.float64()),  # SI
    ]
)
STUDY = complete(
    [
        ("train_set", pa.string()),
        ("seed", pa.int64()),
        ("test_scale", pa.float64()),  # µm
        ("trained", pa.bool_()),
        ("parameter", pa.string()),
        ("unit", pa.string()),  # of mae and biases, SI
        ("r2", pa.float64()),
        ("mae", pa.float64()),
        ("bias", pa.float64()),
        ("bias_low", pa.float64()),  # in the lowest tenth of the range of set values; NaN without views there
        ("bias_high", pa.float64()),
        ("n", pa.int64()),  # views
    ]
)


class Trial(NamedTuple):
    """An estimator of a study, by the set of scales that it was trained on and the seed of its fit.

    TWO_NUMBERS in the place of a set means the baseline.
    """

    train_set: str
    seed: int


@dataclass(frozen=True)
class Tested:
    """A tested estimator: `predict` turns views (n, 128, 128) at a scale into values (n, parameters)."""

    trial: Trial
    parameters: tuple[str, ...]
    trained_at: Callable[[float], bool]  # a scale, µm
    predict_views: Callable[[torch.Tensor, float], NDArray[np.float64]]


def run_study(
    store_uri: str, estimators: Mapping[Trial, str | Path], test_scales: Sequence[float]
) -> tuple[pa.Table, pa.Table]:
    """Return the tables PREDICTIONS and STUDY of estimators (trial -> folder) at `test_scales`, µm.

    With them, for each parameter, the baseline: fitted to the training films at all scales of the estimators, through
    the microscope of the first. Where the cluster has GPUs, each estimator is tested on one of them, several at once.
    Raises UserError if the store has no test films, or an estimator cannot be loaded.
    """
    connect()
    described = [Estimator.load(folder).metadata for folder in estimators.values()]
    _check_test_films(open_store(store_uri))
    scales = tuple(test_scales)
    orders = [(store_uri, trial, str(Path(folder).absolute()), scales) for trial, folder in estimators.items()]
    trained = tuple(sorted({scale for one in described for scale in one.train_scales_um}))
    parameters = dict.fromkeys(target.name for one in described for target in one.targets)
    microscope = described[0].microscope
    baselines = [(store_uri, parameter, trained, scales, microscope) for parameter in parameters]
    if gpus() >= 1:
        test: Any = ray.remote(_of_estimator).options(num_gpus=GPU_SHARE, num_cpus=1)
        compare: Any = ray.remote(_of_baseline).options(num_gpus=GPU_SHARE, num_cpus=1)
        parts = ray.get([*(test.remote(*order) for order in orders), *(compare.remote(*order) for order in baselines)])
    else:
        parts = [*(_of_estimator(*order) for order in orders), *(_of_baseline(*order) for order in baselines)]
    return pa.concat_tables(part[0] for part in parts), pa.concat_tables(part[1] for part in parts)


def _of_estimator(store_uri: str, trial: Trial, folder: str, scales: tuple[float, ...]) -> tuple[pa.Table, pa.Table]:
    """Return PREDICTIONS and STUDY of one estimator, on the GPU of this process if it has one."""
    estimator = Estimator.load(folder, own_device())
    names = tuple(target.name for target in estimator.targets)
    tested = Tested(trial, names, estimator.metadata.trained_at, estimator.predict_views)
    return _test(open_store(store_uri), tested, scales)


def _of_baseline(
    store_uri: str,
    parameter: str,
    trained: tuple[float, ...],
    scales: tuple[float, ...],
    microscope: Microscope | None,
) -> tuple[pa.Table, pa.Table]:
    """Return PREDICTIONS and STUDY of the baseline of one parameter."""
    store = open_store(store_uri)
    baseline = Baseline.fit(store, parameter, trained, own_device(), microscope)
    tested = Tested(Trial(TWO_NUMBERS, 0), (parameter,), lambda scale: scale in trained, baseline.predict_views)
    return _test(store, tested, scales)


def _test(store: Store, tested: Tested, scales: tuple[float, ...]) -> tuple[pa.Table, pa.Table]:
    films = store.films("test", ["film_id", "pixel_nm", *tested.parameters])
    check_finite(store, films, ["pixel_nm", *tested.parameters])
    images = torch.from_numpy(store.images(films["film_id"].to_pylist())).to(own_device())
    parts = [_at_scale(films, images, tested, scale) for scale in scales]
    predictions = pa.concat_tables(parts).combine_chunks()
    rows = [
        {**tested.trial._asdict(), "test_scale": scale, **_score(store, part, tested, scale, parameter)}
        for scale, part in zip(scales, parts, strict=True)
        for parameter in tested.parameters
    ]
    return predictions, pa.Table.from_pylist(rows, schema=STUDY)


def _at_scale(films: pa.Table, images: torch.Tensor, tested: Tested, scale: float) -> pa.Table:
    """Return PREDICTIONS at one scale, by film, view and parameter."""
    estimated = over_views(
        lambda shown: tested.predict_views(shown, scale), images, scale, films["pixel_nm"][0].as_py()
    )
    if not np.isfinite(estimated).all():
        raise UserError(f"estimates of {tested.trial.train_set} at {scale:g} µm are not finite numbers")
    true = np.stack([films[name].to_numpy() for name in tested.parameters], axis=1)
    film, view, parameter = (axis.ravel() for axis in np.indices(estimated.shape, np.int32))
    columns = {
        "train_set": pa.repeat(tested.trial.train_set, estimated.size),
        "seed": pa.repeat(tested.trial.seed, estimated.size),
        "test_scale": pa.repeat(scale, estimated.size),
        "film_id": films["film_id"].take(pa.array(film)),
        "view": view,
        "parameter": pa.array(tested.parameters).take(pa.array(parameter)),
        "set_value": true[film, parameter],
        "estimated": estimated.ravel(),
    }
    return pa.table(columns).cast(PREDICTIONS)


def _score(store: Store, predictions: pa.Table, tested: Tested, scale: float, parameter: str) -> dict[str, Any]:
    """Return the row of STUDY for the views of one parameter at one scale."""
    shown = predictions.filter(pc.equal(predictions["parameter"], parameter))
    true, estimated = shown["set_value"].to_numpy(), shown["estimated"].to_numpy()
    place = (true - true.min()) / max(float(np.ptp(true)), np.finfo(float).tiny)
    low, high = place <= END, place >= 1 - END
    return {
        "trained": tested.trained_at(scale),
        "parameter": parameter,
        "unit": store.schema.field(parameter).metadata[b"unit"].decode(),
        "r2": r2(true, estimated),
        "mae": mae(true, estimated),
        "bias": bias(true, estimated),
        "bias_low": bias(true[low], estimated[low]),
        "bias_high": bias(true[high], estimated[high]),
        "n": len(true),
    }


def _check_test_films(store: Store) -> None:
    if not store.films("test", ["film_id"]).num_rows:
        raise UserError(f"store {store.uri} has no test films, so there is nothing to study; simulate more films")
