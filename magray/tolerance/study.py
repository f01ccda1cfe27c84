"""A study: every estimator on every test scale, over films of the test split."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from magray.errors import UserError
from magray.imaging import views
from magray.learning.estimator import SAME_SCALE, Estimator, Target
from magray.store import Store, open_store
from magray.tolerance.metrics import bias, mae, r2

FILMS_AT_ONCE = 64

PREDICTIONS = pa.schema(
    [
        ("train_set", pa.string()),
        ("test_scale", pa.float64()),  # µm
        ("film_id", pa.string()),
        ("view", pa.int32()),  # its place among the squares that tile the film
        ("parameter", pa.string()),
        ("set_value", pa.float64()),  # SI
        ("estimated", pa.float64()),  # SI
    ]
)
STUDY = pa.schema(
    [
        ("train_set", pa.string()),
        ("test_scale", pa.float64()),  # µm
        ("trained", pa.bool_()),
        ("parameter", pa.string()),
        ("unit", pa.string()),  # of mae and bias, SI
        ("r2", pa.float64()),
        ("mae", pa.float64()),
        ("bias", pa.float64()),
        ("n", pa.int64()),  # views
    ]
)


def run_study(
    store_uri: str, estimators: Mapping[str, str | Path], test_scales: Sequence[float]
) -> tuple[pa.Table, pa.Table]:
    """The tables PREDICTIONS and STUDY of estimators (training set -> folder) at `test_scales`, µm.

    Raises UserError if the store has no test films, or an estimator cannot be loaded.
    """
    store = open_store(store_uri)
    predictions, rows = [], []
    for train_set, folder in estimators.items():
        estimator = Estimator.load(folder)
        for scale in test_scales:
            table = _predictions(store, estimator, train_set, scale)
            predictions.append(table)
            rows += [_row(table, estimator, target, train_set, scale) for target in estimator.targets]
    return pa.concat_tables(predictions), pa.Table.from_pylist(rows, schema=STUDY)


def _predictions(store: Store, estimator: Estimator, train_set: str, scale: float) -> pa.Table:
    """PREDICTIONS of one estimator at one scale, by film, view and parameter."""
    names = [target.name for target in estimator.targets]
    parts = []
    for films, shown in _shown(store, names, scale):
        n, k = shown.shape[:2]
        estimated = estimator.predict_views(shown.reshape(n * k, *shown.shape[2:]))
        true = np.array([films[name] for name in names]).T
        columns = {
            "train_set": np.full(estimated.size, train_set),
            "test_scale": np.full(estimated.size, scale),
            "film_id": np.repeat(films["film_id"], k * len(names)),
            "view": np.tile(np.repeat(np.arange(k), len(names)), n),
            "parameter": np.tile(names, n * k),
            "set_value": np.repeat(true, k, axis=0).ravel(),
            "estimated": estimated.ravel(),
        }
        parts.append(pa.table(columns).cast(PREDICTIONS))
    return pa.concat_tables(parts)


def _shown(store: Store, names: list[str], scale: float) -> Iterator[tuple[dict[str, list[Any]], NDArray[np.float32]]]:
    """The test films in blocks: their ids and set values, and their views (films, k, 128, 128)."""
    wanted = (pc.field("split") == "test") & (pc.field("status") == "converged")
    table = store.table(["film_id", "pixel_nm", *names], wanted).sort_by("film_id")
    if not table.num_rows:
        raise UserError(f"store {store.uri} has no test films, so there is nothing to study; simulate more films")
    for start in range(0, table.num_rows, FILMS_AT_ONCE):
        films = table.slice(start, FILMS_AT_ONCE).to_pydict()
        yield films, views(store.images(films["film_id"]), scale, films["pixel_nm"][0])


def _row(table: pa.Table, estimator: Estimator, target: Target, train_set: str, scale: float) -> dict[str, Any]:
    """The row of STUDY of one parameter."""
    mine = table.filter(pc.field("parameter") == target.name)
    true, estimated = mine["set_value"].to_numpy(), mine["estimated"].to_numpy()
    trained = any(abs(scale / known - 1) < SAME_SCALE for known in estimator.description.train_scales_um)
    return {
        "train_set": train_set,
        "test_scale": scale,
        "trained": trained,
        "parameter": target.name,
        "unit": target.unit,
        "r2": r2(true, estimated),
        "mae": mae(true, estimated),
        "bias": bias(true, estimated),
        "n": len(true),
    }
