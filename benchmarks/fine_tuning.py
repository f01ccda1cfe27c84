"""Measure how many films of another material a fit needs: from random weights, and from those of an estimator.

    python -m benchmarks.fine_tuning --backend cupy --output fine-tuning.json

The films are those of the quickstart's config, in 512 × 512 cells: a material that the estimator was not trained on.
The specialist is trained from random weights on many of them. Every fit with few films has the same number of pictures,
and is made at several learning rates; films that no fit sees choose one, and other such films test it. Rewrites the
JSON file and a Markdown table beside it after every fit, and begins no fit after `--seconds`.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from magray.config import FitConfig, ScaleSet, load_config
from magray.environment import processor, versions
from magray.estimator.estimator import Estimator
from magray.estimator.metadata import Target, standardised
from magray.estimator.predictor import Predictor
from magray.evaluation.metrics import r2
from magray.films import Film
from magray.imaging import cells_of, scale_of
from magray.micromagnetics import FilmSolver
from magray.network.branches import own_device
from magray.store.rows import pixels
from magray.training.config import TrainConfig
from magray.training.crops import FilmBatch, scale_count
from magray.training.starting_point import StartingPoint
from magray.training.trainer import Trainer

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
SEED = 0xF17E  # of the campaign, that of no config
EPOCHS = 20  # into which the pictures of a fit are divided
WEIGHT_DECAY = 0.05
AS_GOOD = 1.1  # times the specialist's error
Fit = dict[str, Any]


@dataclass(frozen=True)
class Films:
    """Pictures (n, ny, nx) uint8 on the device of the fits, and D (n,), J/m²."""

    images: torch.Tensor
    D: NDArray[np.float64]
    pixel_nm: float

    def __getitem__(self, some: slice) -> "Films":
        return Films(self.images[some], self.D[some], self.pixel_nm)

    def __len__(self) -> int:
        return len(self.D)

    @property
    def target(self) -> Target:
        """Return D as a target, standardised over these films."""
        return Target("D", "J/m2", float(self.D.mean()), float(self.D.std()), float(self.D.min()), float(self.D.max()))


@dataclass(frozen=True)
class Recipe:
    """The settings that all fits share, and the scales, µm, of their tests."""

    train_set: ScaleSet
    test_scales: Sequence[float]
    batch: int
    width: float

    def fit(self, films: Films, start: StartingPoint | None, views: int, rate: float) -> Predictor:
        """Return a network of D that was trained on about `views` pictures of films."""
        config = TrainConfig(
            epochs=EPOCHS,
            learning_rate=rate,
            symmetries="all",
            width=self.width,
            batch=self.batch,
            weight_decay=WEIGHT_DECAY,
        ).drawn_from(self.train_set)
        per_scale = max(1, views // EPOCHS // scale_count(self.train_set.scales_um, config))
        config, target = replace(config, views_per_epoch=per_scale), films.target
        values = standardised(films.D[:, None], [target]).to(films.images.device)
        sides = tuple(cells_of(scale, films.pixel_nm) for scale in self.train_set.scales_um)
        batch = FilmBatch(films.images, values, sides, scale_of(1, films.pixel_nm))

        def initialise(network: torch.nn.Module) -> None:
            if start is not None:
                start.initialise(network, [target], self.train_set.scales_um)

        trainer = Trainer(batch, config, initialise=initialise)
        for _ in range(EPOCHS):
            trainer.run_epoch()
        return Predictor(trainer.network, (target,))

    def errors(self, predictor: Predictor, films: Films) -> dict[str, dict[str, float]]:
        """Return the mean absolute error of D, mJ/m², its standard error, and R² at each test scale."""
        errors = {}
        for scale in self.test_scales:
            said = predictor.predict_films(films.images, scale, films.pixel_nm)[..., 0]
            of_films = np.abs(said - films.D[:, None]).mean(axis=1) * 1e3
            errors[f"{scale:g}"] = {
                "mae": float(of_films.mean()),
                "mae_error": float(of_films.std() / np.sqrt(len(films))),
                "r2": r2(np.repeat(films.D, said.shape[1]), said.ravel()),
            }
        return errors


def simulated(count: int, cells: int, backend: str) -> tuple[Films, float]:
    """Return relaxed films of the quickstart's material, and the seconds that they took."""
    start = time.monotonic()
    settings = [f"campaign.films={count}", f"campaign.cells=[{cells}, {cells}]", f"campaign.seed={SEED}"]
    films: list[Film] = list(load_config(CONFIG, settings).films())
    pictures: dict[str, NDArray[np.uint8]] = {}
    for done in FilmSolver(backend).stream(films):
        if done.converged and done.m is not None:
            pictures[done.film.film_id] = pixels(done.m[2])
    kept = [film for film in films if film.film_id in pictures]
    images = torch.from_numpy(np.stack([pictures[film.film_id] for film in kept])).to(own_device())
    made = Films(images, np.array([film.D for film in kept]), films[0].cell_size[0] * 1e9)
    return made, time.monotonic() - start


def fits(
    arguments: argparse.Namespace, estimator: Estimator, recipe: Recipe, choosing: Films, training: Films
) -> Iterator[tuple[Fit, Predictor]]:
    """Yield each fit and its network: the estimator as it is, the specialist, and fits with few films from both."""
    config = FitConfig(
        train_scales=[recipe.train_set],
        epochs=EPOCHS,
        views_per_epoch=1,
        learning_rate=arguments.rates[0],
        width=recipe.width,
        start_from=arguments.start_from,
    )
    start = StartingPoint.of(config)
    yield {"start": arguments.start_from, "films": 0, "views": 0}, estimator
    begin = time.monotonic()
    views, rate = arguments.specialist_views, arguments.specialist_rate
    specialist = recipe.fit(training, None, views, rate)
    seconds = time.monotonic() - begin
    yield {"start": "random", "films": len(training), "views": views, "rate": rate, "seconds": seconds}, specialist
    for count in sorted(arguments.films):
        for name, of in (("random", None), (arguments.start_from, start)):
            begin = time.monotonic()
            tried = {rate: recipe.fit(training[:count], of, arguments.views, rate) for rate in arguments.rates}
            means = {rate: _mean(recipe.errors(network, choosing)) for rate, network in tried.items()}
            rate = min(means, key=lambda one: means[one])
            seconds = (time.monotonic() - begin) / len(tried)
            fit = {"start": name, "films": count, "views": arguments.views, "rate": rate, "seconds": seconds}
            yield fit, tried[rate]


def table(result: dict[str, Any]) -> str:
    """Return the errors as a Markdown table: a row a number of films, a column a start and scale."""
    scales, start = result["test_scales"], result["start_from"]
    found = {(fit["start"], fit["films"]): fit["errors"] for fit in result["fits"]}
    head = [f"{name}, {scale:g} µm" for name in ("random", start) for scale in scales]
    lines = [f"| films | {' | '.join(head)} |", "|---" * (1 + len(head)) + "|"]
    for count in sorted({films for _, films in found}):
        cells = [_cell(found.get((name, count)), f"{scale:g}") for name in ("random", start) for scale in scales]
        lines.append(f"| {count:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def fewest(result: dict[str, Any]) -> dict[str, int | None]:
    """Return, by start, the fewest films whose mean error is at most AS_GOOD times that of the most films."""
    most = max((fit for fit in result["fits"]), key=lambda fit: int(fit["films"]))
    good: dict[str, int | None] = {}
    for name in ("random", result["start_from"]):
        counts = [
            fit["films"]
            for fit in result["fits"]
            if fit["start"] == name and _mean(fit["errors"]) <= AS_GOOD * _mean(most["errors"])
        ]
        good[name] = min(counts, default=None)
    return good


def _mean(errors: dict[str, dict[str, float]]) -> float:
    """Return the mean over the test scales of the mean absolute errors, mJ/m²."""
    return sum(at["mae"] for at in errors.values()) / len(errors)


def _cell(errors: dict[str, dict[str, float]] | None, scale: str) -> str:
    if errors is None:
        return ""
    at = errors[scale]
    return f"{at['mae']:.3f} ± {at['mae_error']:.3f} (R² {at['r2']:.2f})"


def _write(result: dict[str, Any], path: Path) -> None:
    result["as_good_from"] = fewest(result)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(table(result), encoding="utf-8")


def main() -> None:
    """Print a line a fit, and the table."""
    begin = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="auto", choices=["auto", "cpu", "cupy"], help="of the simulation")
    parser.add_argument("--output", type=Path, default=Path("fine-tuning.json"))
    parser.add_argument("--films", type=int, nargs="+", default=[16, 64, 256, 1024])
    parser.add_argument("--specialist", type=int, default=3072, help="films")
    parser.add_argument("--tests", type=int, default=384, help="films")
    parser.add_argument("--choosing", type=int, default=128, help="films that choose the learning rate")
    parser.add_argument("--cells", type=int, default=512, help="of a side")
    parser.add_argument("--start-from", default="co-like")
    parser.add_argument("--train-set", type=ScaleSet.parse, default=ScaleSet.parse("0.4..2.0"), help="µm")
    parser.add_argument("--test-scales", type=float, nargs="+", default=[0.5, 1.0, 2.0])
    parser.add_argument("--views", type=int, default=1_200_000, help="pictures of each fit with few films")
    parser.add_argument("--specialist-views", type=int, default=6_000_000)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 4e-3])
    parser.add_argument("--specialist-rate", type=float, default=6e-3)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=330)
    arguments = parser.parse_args()
    if max(arguments.films) > arguments.specialist:
        parser.error("--films: the specialist needs as many")

    device = own_device()
    spare = arguments.tests + arguments.choosing
    films, seconds = simulated(spare + arguments.specialist, arguments.cells, arguments.backend)
    print(f"{len(films)} films in {seconds:.0f} s", flush=True)
    tests, choosing, training = films[: arguments.tests], films[arguments.tests : spare], films[spare:]
    estimator = Estimator.load(arguments.start_from, device)
    recipe = Recipe(arguments.train_set, arguments.test_scales, arguments.batch, estimator.metadata.width)
    result: dict[str, Any] = {
        "machine": torch.cuda.get_device_name() if device.type == "cuda" else processor(),
        "versions": versions(),
        "start_from": arguments.start_from,
        "train_set": str(arguments.train_set),
        "test_scales": arguments.test_scales,
        "cells": arguments.cells,
        "test_films": len(tests),
        "simulation": {"films": len(films), "seconds": seconds},
        "fits": [],
    }
    for fit, predictor in fits(arguments, estimator, recipe, choosing, training):
        errors = recipe.errors(predictor, tests)
        result["fits"].append(fit | {"errors": errors})
        result["seconds"] = time.monotonic() - begin
        _write(result, arguments.output)
        print(json.dumps(fit), f"{_mean(errors):.4f} mJ/m²", f"after {result['seconds']:.0f} s", flush=True)
        if result["seconds"] > arguments.seconds:
            print(f"--seconds {arguments.seconds:g} are over: no further fits")
            break
    print(table(result), result["as_good_from"], sep="\n")


if __name__ == "__main__":
    main()
