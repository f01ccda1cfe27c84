"""The page of a project, and its figures beside it. Drawn from the Parquet files and summary.json alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from magray.config import Config, UniformRange
from magray.evaluation.study import PREDICTIONS, STUDY
from magray.evaluation.wall_ablation import CAUSES
from magray.files.atomic import read_table
from magray.films import Protocol
from magray.report.curves import draw_curves, draw_heat_map
from magray.report.figures import TRAINED, UNTRAINED, Panel, Series, draw_samples, draw_scatter, sample_rows
from magray.report.html import write_page
from magray.report.labels import quantity
from magray.report.scores import (
    Row,
    in_file_name,
    label,
    of_parameter,
    parameter_of,
    scales_to_show,
    seeds_of,
    train_sets,
)
from magray.report.summary import HeldOutAnswer, Summary
from magray.report.tables import causes_table, number, score_table, tolerance_table
from magray.store import Store

CONSTANTS = ("Ms", "Ku1", "Aex", "D", "sigma")
FIGURES = ("scatter_*.png", "curves_*.png", "heat_map_*.png", "samples.png")


def write_report(folder: Path, store: Store, config: Config, summary: Summary) -> Path:
    """Write report/index.html and its figures into a project's folder, and returns the page's path.

    The project has study.parquet and predictions.parquet; causes.parquet is shown if it is there.
    """
    report = folder / "report"
    report.mkdir(parents=True, exist_ok=True)
    for old in (path for pattern in FIGURES for path in report.glob(pattern)):
        old.unlink()
    films, study = store.table(), read_table(folder / "study.parquet", STUDY)
    causes = read_table(folder / "causes.parquet", CAUSES) if (folder / "causes.parquet").exists() else None
    write_page(
        "project.html",
        report / "index.html",
        config=config,
        summary=summary,
        samples=_samples(store, films, config.fit.targets[0], report),
        parameters=[
            parameter_on_page(of_parameter(study, name), causes, report)
            | {"scatter": _scatter(folder / "predictions.parquet", of_parameter(study, name), report)}
            for name in config.fit.targets
        ],
        constants=[_constant(name, config) for name in CONSTANTS],
        answer=_answer(summary.answer),
        yaml=config.to_yaml(),
        microscope=_microscope(config),
        counts=_counts(films),
        seconds=_seconds(summary.seconds),
        protocols=[str(Protocol.from_json(text)) for text in sorted(films["protocol"].unique().to_pylist())],
        solvers=sorted(films["solver"].unique().to_pylist()),
    )
    return report / "index.html"


def parameter_on_page(study: pa.Table, causes: pa.Table | None, folder: Path) -> dict[str, Any]:
    """Draw the curves and the heat map of one parameter into a folder. What macros.html shows of it."""
    name = parameter_of(study)
    draw_curves(study, folder / f"curves_{name}.png")
    draw_heat_map(study, folder / f"heat_map_{name}.png")
    mine = None if causes is None else of_parameter(causes, name)
    return {
        "quantity": quantity(name),
        "seeds": max(len(rows) for rows in seeds_of(study).values()),
        "curves": f"curves_{name}.png",
        "heat_map": f"heat_map_{name}.png",
        "tolerance": tolerance_table(study),
        "scores": score_table(study),
        "causes": causes_table(mine) if mine is not None and mine.num_rows else None,
    }


def _samples(store: Store, films: pa.Table, parameter: str, report: Path) -> str:
    """Draw the sample pictures over a parameter; returns the figure's name."""
    shown = quantity(parameter)
    rows = sample_rows(films, parameter)
    captions = [f"{parameter} {row[parameter] * shown.factor:.2f} {shown.unit}".rstrip() for row in rows]
    draw_samples(store.images([row["film_id"] for row in rows]), captions, report / "samples.png")
    return "samples.png"


def _scatter(predictions: Path, study: pa.Table, report: Path) -> list[dict[str, str]]:
    """Draw the estimates of each training set's first seed at some scales: its words, figure and panels."""
    name, scores = parameter_of(study), seeds_of(study)
    tested = read_table(predictions, PREDICTIONS, ["test_scale"])["test_scale"].unique()
    scales = scales_to_show(study, tested.to_pylist())
    seeds = [rows[0]["seed"] for rows in scores.values()]
    wanted = pc.field("test_scale").isin(scales) & pc.field("seed").isin(seeds) & (pc.field("parameter") == name)
    columns = ["train_set", "seed", "test_scale", "set_value", "estimated"]
    points, figures = read_table(predictions, PREDICTIONS, columns, wanted), []
    for train_set in train_sets(study):
        first = [scores[train_set, scale][0] for scale in scales]
        panels = [panel for row in first if (panel := _panel(row, points)).clouds[0].points.num_rows]
        if panels:
            figure = f"scatter_{name}_{in_file_name(train_set)}.png"
            draw_scatter(panels, quantity(name), report / figure)
            titles = [panel.title for panel in panels]
            figures.append({"trained_at": label(train_set), "figure": figure, "panels": "; ".join(titles)})
    return figures


def _panel(score: Row, points: pa.Table) -> Panel:
    """The estimates that a row of the study is about."""
    shown, colour = quantity(score["parameter"]), TRAINED if score["trained"] else UNTRAINED
    of_score = pc.field("train_set") == score["train_set"]
    for name in ("seed", "test_scale"):
        of_score &= pc.field(name) == score[name]
    note = f"R² {score['r2']:.2f}, MAE {number(score['mae'] * shown.factor, 2)} {shown.unit}".rstrip()
    title = f"{score['test_scale']:g} µm, {'trained' if score['trained'] else 'untrained'}"
    return Panel(title, note, (Series(points.filter(of_score), colour),), colour)


def _constant(name: str, config: Config) -> dict[str, str]:
    """A constant of the campaign as people write it: one value, or the range that films draw from."""
    shown, value = quantity(name), getattr(config.campaign, name)
    ends = (value.low, value.high) if isinstance(value, UniformRange) else (value,)
    return {"name": name, "value": f"{' to '.join(f'{end * shown.factor:g}' for end in ends)} {shown.unit}".rstrip()}


def _microscope(config: Config) -> str:
    """Return a sentence on the microscope that pictures are seen through; empty without one."""
    microscope = config.fit.microscope
    if microscope is None:
        return ""
    blur = " to ".join(f"{end * 1e9:g}" for end in microscope.blur)
    noise = " to ".join(f"{end:g}" for end in microscope.noise)
    return (
        f"All pictures are seen through a microscope: a point spread of {blur} nm (standard deviation), and noise of "
        f"{noise} where domains are 2 apart."
    )


def _answer(answer: HeldOutAnswer | None) -> dict[str, Any] | None:
    """The held-out film's answer and truth, in words; None before there is one."""
    if answer is None:
        return None
    rows = []
    for name, constant in answer.constants.items():
        shown = quantity(name)
        value, true, error = (number * shown.factor for number in (constant.value, constant.true, constant.error))
        words = {"value": f"{value:.3g}", "true": f"{true:.3g}", "error": f"{error:.2g}"}
        rows.append(words | {"name": name, "unit": shown.unit})
    return answer.model_dump() | {"rows": rows}


def _counts(films: pa.Table) -> dict[str, int]:
    """Return the counts in the page's head, from the store's rows."""
    states = films["status"].to_pylist()
    counts = {"films": len(states), "not converged": states.count("not_converged"), "failed": states.count("failed")}
    return counts | {"field evaluations": pc.sum(films["evaluations"]).as_py()}


def _seconds(by_stage: Mapping[str, float]) -> dict[str, float]:
    """Seconds of each stage; those of many fits as one."""
    fits = [seconds for stage, seconds in by_stage.items() if stage.startswith("fit ")]
    others = {stage: seconds for stage, seconds in by_stage.items() if not stage.startswith("fit ")}
    return others | ({f"{len(fits)} fit{'s' if len(fits) > 1 else ''}": sum(fits)} if fits else {})
