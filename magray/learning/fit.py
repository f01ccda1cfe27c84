"""A fit: from the films of a store to an estimator's folder.

A fit that was cut short goes on from its last checkpoint when it is run again with the same films and settings.
"""

import hashlib
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from magray.campaign import connect
from magray.config import FitConfig
from magray.doctor import versions
from magray.errors import UserError
from magray.imaging import cells_of, scale_of
from magray.learning.calibration import calibrate
from magray.learning.estimator import Calibration, Description, Estimator, Target
from magray.learning.network import NETWORKS
from magray.learning.recipe import Recipe
from magray.learning.workers import Lesson, learn
from magray.store import Store, open_store


@dataclass(frozen=True)
class FitSummary:
    """What a fit did. loss: of its last epoch, in variances of the targets. seconds: of this call, with start-up."""

    folder: Path
    training_films: int
    calibration_films: int
    views: int
    loss: float
    seconds: float


def fit(
    store_uri: str,
    config: FitConfig,
    scales: tuple[float, ...],
    folder: str | Path,
    work_folder: str | Path,
    progress: bool = True,
) -> FitSummary:
    """Fits an estimator of `config.targets` to the store's training films at `scales`, µm, and saves it in `folder`.

    Checkpoints go to `work_folder`, which all nodes must see.
    Raises UserError if the store has too few films, or no differences between them to learn from.
    """
    start = time.monotonic()
    connect()
    store = open_store(store_uri)
    training, calibration, pixel_nm = _divided(store, config)
    sides = _sides(store, scales, pixel_nm)
    targets = tuple(target_of(store, name, np.array(training[name])) for name in config.targets)
    means, spreads = ([getattr(target, name) for target in targets] for name in ("mean", "spread"))
    lesson = Lesson(
        store_uri=store.uri,
        film_ids=tuple(training["film_id"]),
        standardised=tuple(map(tuple, ((_values(training, config) - means) / spreads).tolist())),
        sides=sides,
        pixel_um=scale_of(1, pixel_nm),
        recipe=Recipe.of(config.model_dump()),
    )
    state = learn(lesson, config.workers, Path(work_folder).absolute(), progress)
    network = NETWORKS[lesson.recipe.network](len(targets))
    network.load_state_dict(state["network"])
    provenance = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "campaign": store.campaign,
        "fit": config.model_dump(mode="json", exclude={"train_scales"}),
        "views": state["views"] * config.epochs,
        "loss": state["loss"],
        "versions": {name: versions()[name] for name in ("magray", "ray", "torch")},
    }
    description = Description(
        targets,
        scales,
        len(lesson.film_ids),
        Calibration((), {}, 0),
        provenance,
        network=lesson.recipe.network,
        between=lesson.recipe.scales_drawn == "between",
    )
    estimator = Estimator(network, description)
    errors = calibrate(estimator, store.images(calibration["film_id"]), _values(calibration, config), pixel_nm)
    Estimator(network, replace(description, calibration=errors)).save(folder)
    return FitSummary(
        folder=Path(folder),
        training_films=len(lesson.film_ids),
        calibration_films=errors.films,
        views=provenance["views"],
        loss=state["loss"],
        seconds=time.monotonic() - start,
    )


def calibration_ids(film_ids: list[str], fraction: float) -> set[str]:
    """The `fraction` of training films, at least one, that is kept for the error bars: a matter of their ids alone."""
    ordered = sorted(film_ids, key=lambda film_id: hashlib.sha256(film_id.encode()).digest())
    return set(ordered[: max(1, round(fraction * len(ordered)))])


Rows = dict[str, list[Any]]


def _divided(store: Store, config: FitConfig) -> tuple[Rows, Rows, float]:
    """The films to train on, those to calibrate with (columns film_id and the targets), and their pixel, nm."""
    wanted = (pc.field("split") == "train") & (pc.field("status") == "converged")
    table = store.table(["film_id", "pixel_nm", *config.targets], wanted).sort_by("film_id")
    if table.num_rows < 2:
        raise UserError(
            f"store {store.uri} has {table.num_rows} training films, and a fit needs 2 or more; simulate more"
        )
    if len(table["pixel_nm"].unique()) > 1:
        raise UserError(f"store {store.uri} holds films of several cell sizes; fit those of one")
    kept = calibration_ids(table["film_id"].to_pylist(), config.calibration_fraction)
    calibrating = pc.field("film_id").isin(sorted(kept))
    pixel_nm = float(table["pixel_nm"][0].as_py())
    return table.filter(~calibrating).to_pydict(), table.filter(calibrating).to_pydict(), pixel_nm


def _sides(store: Store, scales: tuple[float, ...], pixel_nm: float) -> tuple[int, ...]:
    """The cells along a view at each scale. Raises UserError if one is larger than the films."""
    sides, sizes = [cells_of(scale, pixel_nm) for scale in scales], store.table(["width", "height"])
    smallest = min(pc.min(sizes[name]).as_py() for name in ("width", "height"))
    if max(sides) > smallest:
        raise UserError(f"scale {max(scales):g} µm is {max(sides)} cells, and the films have {smallest}")
    return tuple(sides)


def target_of(store: Store, name: str, values: NDArray[np.float64]) -> Target:
    """The parameter `name`, whose values in the training films are these, SI. Raises UserError if all are alike."""
    unit = store.schema.field(name).metadata[b"unit"].decode()
    spread = float(values.std())
    if spread <= 1e-9 * np.abs(values).max():
        raise UserError(f"all training films have the same {name}, so nothing can be learned of it; give it a range")
    return Target(name, unit, float(values.mean()), spread, float(values.min()), float(values.max()))


def _values(rows: Rows, config: FitConfig) -> NDArray[np.float64]:
    """(films, targets), SI."""
    return np.array([rows[name] for name in config.targets]).T
