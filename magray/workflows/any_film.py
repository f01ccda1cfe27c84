"""Make the any-film estimator from stores of designed films: train, calibrate, write, and measure."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from magray.evaluation.any_film import baseline, evaluate, summary_lines
from magray.files.atomic import atomic_write
from magray.network.any_film import AnyFilmSettings
from magray.network.execution import ExecutionConfig
from magray.report.any_film import draw_ranks
from magray.training.any_film.fit import calibrate, fit_any_film
from magray.training.any_film.trainer import AnyFilmTraining

SCORES, TABLE, RANKS = "scores.json", "scores.txt", "ranks.png"


def run(
    stores: Sequence[str],
    folder: Path,
    settings: AnyFilmSettings,
    training: AnyFilmTraining,
    baseline_seconds: float,
    say: Callable[[str], object],
    start_from: str | None = None,
) -> None:
    """Write the estimator and its scores to a folder. The estimator is there before it is measured."""
    network, sampler, description = fit_any_film(stores, folder, settings, training, say, start_from)
    execution = ExecutionConfig.of(sampler.device)
    scores: dict[str, Any] = {"network": evaluate(network, sampler, description["calibration"], execution)}
    lines = summary_lines(scores["network"])
    _write(folder, scores, lines, say)
    draw_ranks({title: score["ranks"] for title, score in scores["network"].items()}, folder / RANKS)
    if baseline_seconds:
        short = replace(training, seconds=baseline_seconds)
        scores["two numbers"] = baseline(sampler, settings, short, calibrate, execution, say)
        lines += ["two numbers of the picture:", *summary_lines(scores["two numbers"])]
        _write(folder, scores, lines, say)


def _write(folder: Path, scores: dict[str, Any], lines: list[str], say: Callable[[str], object]) -> None:
    for name, text in ((SCORES, json.dumps(scores, indent=1)), (TABLE, "\n".join(lines) + "\n")):
        with atomic_write(folder / name) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    say("\n".join(lines))
