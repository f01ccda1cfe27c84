"""Fit the any-film estimator to films of stores, calibrate it on films never seen, and write its folder."""

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from magray.environment import versions
from magray.errors import UserError
from magray.estimator.any_film import FORMAT, KIND, AnyFilmEstimator
from magray.estimator.folders import DESCRIPTION, WEIGHTS, folder_of, sha256_of_weights
from magray.estimator.weights import save_weights
from magray.files.atomic import atomic_write
from magray.films.design import HISTORIES, KINDS
from magray.imaging import VIEW_SIZE
from magray.network.any_film import AnyFilmNetwork, AnyFilmSettings
from magray.network.branches import own_device
from magray.network.execution import ExecutionConfig
from magray.store import open_store
from magray.training.any_film.films import DEEPEST, FilmSet, read_films
from magray.training.any_film.intervals import answers, conformal_factors
from magray.training.any_film.sampler import Pictures, Sampler
from magray.training.any_film.trainer import (
    HIDDEN_DMI,
    HIDDEN_HISTORY,
    HIDDEN_RESOLUTION,
    AnyFilmTraining,
    train_any_film,
)

STANDARDISING_PICTURES = 16  # batches
CALIBRATION_PICTURES = 20_000
CALIBRATION_SEED = 1001
DISTANCE_LEVELS = (0.5, 0.9, 0.99, 0.999)
Say = Callable[[str], object]


def fit_any_film(
    stores: Sequence[str | Path],
    folder: Path,
    settings: AnyFilmSettings,
    training: AnyFilmTraining,
    say: Say,
    start_from: str | Path | None = None,
    device: torch.device | None = None,
) -> tuple[AnyFilmNetwork, Sampler, dict[str, Any]]:
    """Train on the films of stores, and write the estimator to `folder`. Returns network, sampler and description.

    start_from: an estimator of the same settings, whose weights the training begins with; without it, random ones.
    """
    device = device or own_device()
    execution = ExecutionConfig.of(device)
    films = []
    for store in stores:
        films.append(read_films(open_store(store), device))
        say(f"{store}: {_films_line(films[-1])}")
    torch.manual_seed(training.seed)
    sampler = Sampler(films, execution, training.instruments)
    settings = replace(settings, instruments=tuple(one.name for one in training.instruments))
    network = AnyFilmNetwork(settings).to(device)
    begun = None if start_from is None else begin_with(network, start_from)
    if begun is None:
        standardise(network, sampler, training.batch)
    done = train_any_film(network, sampler, training, execution, say)
    say("calibrating")
    description = {
        "kind": KIND,
        "format": FORMAT,
        "settings": asdict(settings),
        "training": {name: value for name, value in asdict(training).items() if name != "instruments"} | done,
        "films": [len(one.train) for one in films],
        "trained": _trained_ranges(sampler),
        "dmi": KINDS,
        "histories": HISTORIES,
        "instruments": {one.name: one.described() | {"share": one.share} for one in training.instruments},
        "calibration": calibrate(network, sampler, execution),
        "seed": training.seed,
        "start_from": begun,
        "versions": versions(),
        "command": shlex.join(["magray", *sys.argv[1:]]),
    }
    _save_any_film(network, description, folder)
    say(f"estimator: {folder}, {(folder / WEIGHTS).stat().st_size / 1e6:.1f} MB")
    return network, sampler, description


def begin_with(network: AnyFilmNetwork, estimator: str | Path) -> dict[str, str]:
    """Give the network the weights of an estimator; return its name and their file's SHA-256.

    Raises UserError unless it has the same settings.
    """
    started = AnyFilmEstimator.load(estimator)
    if started.description.settings != network.settings:
        raise UserError(f"{estimator} is an estimator of another width, or of other instruments; start without it")
    network.load_state_dict(started.network.state_dict())
    return {"estimator": str(estimator), "sha256": sha256_of_weights(folder_of(estimator))}


def _save_any_film(network: AnyFilmNetwork, description: dict[str, Any], folder: Path) -> None:
    """Write an estimator's weights and description."""
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(network, folder / WEIGHTS)
    with atomic_write(folder / DESCRIPTION) as unfinished:
        unfinished.write_text(json.dumps(description, indent=1, ensure_ascii=False), encoding="utf-8")


def _films_line(films: FilmSet) -> str:
    """Return a line about a set of films."""
    parts = (len(films.train), len(films.calibration), len(films.test))
    return "{} films to train, {} to calibrate, {} to test, {}² cells".format(*parts, films.side)


@torch.no_grad()
def standardise(network: AnyFilmNetwork, sampler: Sampler, batch: int) -> None:
    """Give the network means and spreads of the training's numbers."""
    pictures = Pictures.joined([_numbers(sampler.train(batch)) for _ in range(STANDARDISING_PICTURES)])
    network.standardise(pictures.knowns().numbers(), pictures.sought())


def _numbers(pictures: Pictures) -> Pictures:
    """Return the pictures without their pixels."""
    pictures.views = pictures.views[:, :1, :1]
    return pictures


def _trained_ranges(sampler: Sampler) -> dict[str, list[float]]:
    """Return the ranges of the reduced numbers of all training pictures."""
    ends: dict[str, list[float]] = {}
    for films, (low, high) in zip(sampler.films, sampler.pixels, strict=True):
        for name, values, scaled in (
            ("Q1", films.Q1, False),
            ("tau", films.thickness, True),
            ("delta", films.wall_width, True),
            ("d", films.d, False),
            ("t_over_wall_width", films.thickness / films.wall_width, False),
        ):
            chosen = values[films.train]
            chosen = chosen.clamp(max=DEEPEST) if name == "d" else chosen
            least, most = float(chosen.min()), float(chosen.max())
            if scaled:
                least, most = least / high, most / low
            ends.setdefault(name, []).extend([least, most])
    return {name: [min(values), max(values)] for name, values in ends.items()}


@torch.no_grad()
def calibrate(network: AnyFilmNetwork, sampler: Sampler, execution: ExecutionConfig) -> dict[str, Any]:
    """Return conformal factors for each instrument: of D by the median of d, and of Aex by the median of δ, in pixels.

    History and resolution of every second picture are told, and the kind of DMI of most.
    """
    films = sum(len(one.calibration) for one in sampler.films)
    times = max(1, min(8, CALIBRATION_PICTURES // films))
    found: dict[str, Any] = {}
    features = []
    for place, instrument in enumerate(sampler.instruments):
        pictures = sampler.held_out("calibration", place, times, CALIBRATION_SEED)
        drawn = torch.rand(3, len(pictures), generator=torch.Generator().manual_seed(CALIBRATION_SEED))
        told = (drawn > torch.tensor([[HIDDEN_DMI], [HIDDEN_HISTORY], [HIDDEN_RESOLUTION]])).to(sampler.device)
        said = answers(network, pictures, execution, *told)
        found[instrument.name] = {
            "D, Aex known": conformal_factors(said.d_aex_known, pictures.d),
            "D, Aex unknown": conformal_factors(said.d_aex_unknown, pictures.d),
            "wall width": conformal_factors(said.delta, pictures.delta),
        }
        if pictures.resolution.isfinite().all():
            ends = (float(pictures.resolution.min()), float(pictures.resolution.max()))
            found[instrument.name]["resolution"] = ends
        features.append(said.features)
    network.whiten(torch.cat(features))
    for instrument, seen in zip(sampler.instruments, features, strict=True):
        distances = network.distance(seen).cpu()
        found[instrument.name]["distances"] = {
            str(level): float(distances.quantile(level)) for level in DISTANCE_LEVELS
        }
    return found | {"largest d": DEEPEST, "pixels of a view": VIEW_SIZE}
