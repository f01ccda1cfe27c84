"""The report's page: one HTML file that needs nothing else. Drawn from the Parquet files and summary.json alone."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jinja2 import Environment, PackageLoader, StrictUndefined

from magray.config import Config, Uniform
from magray.learning.estimator import PRACTICAL
from magray.report.figures import Quantity, draw_samples, draw_scatter, draw_tolerance, sample_rows
from magray.store import Store
from magray.store.schema import STORE_SCHEMA
from magray.whole import whole_file

CONSTANTS = ("Ms", "Ku1", "Aex", "D", "sigma")


def write_report(folder: Path, store: Store, config: Config, summary: Mapping[str, Any]) -> Path:
    """Writes report/index.html and its figures into a project's folder, and returns the page's path."""
    report = folder / "report"
    report.mkdir(parents=True, exist_ok=True)
    for old in (*report.glob("scatter_*.png"), *report.glob("tolerance_*.png"), *report.glob("samples.png")):
        old.unlink()
    films = store.table()
    study, predictions = (pq.read_table(folder / f"{name}.parquet") for name in ("study", "predictions"))
    parameters = [_parameter(name, study, predictions, report) for name in config.fit.targets]
    environment = Environment(loader=PackageLoader("magray.report", "."), autoescape=True, undefined=StrictUndefined)
    environment.filters["picture"] = lambda name: _inline(report / name)
    page = environment.get_template("template.html").render(
        config=config,
        summary=summary,
        samples=_samples(store, films, config.fit.targets[0], report),
        parameters=parameters,
        constants=[_constant(name, config) for name in CONSTANTS],
        answer=_answer(summary),
        yaml=config.to_yaml(),
        counts=_counts(films),
        protocols=[json.loads(text) for text in films["protocol"].unique().to_pylist()],
        solvers=sorted(films["solver"].unique().to_pylist()),
    )
    with whole_file(report / "index.html") as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return report / "index.html"


def quantity(name: str) -> Quantity:
    """A column of the store in practical units."""
    unit = STORE_SCHEMA.field(name).metadata[b"unit"].decode()
    factor, practical = PRACTICAL.get(unit, (1.0, "" if unit == "1" else unit))
    return Quantity(name, factor, practical)


def _samples(store: Store, films: pa.Table, parameter: str, report: Path) -> str:
    """Draws the sample pictures over a parameter; returns the figure's name."""
    shown = quantity(parameter)
    rows = sample_rows(films, parameter)
    captions = [f"{parameter} {row[parameter] * shown.factor:.2f} {shown.unit}".rstrip() for row in rows]
    draw_samples(store.images([row["film_id"] for row in rows]), captions, report / "samples.png")
    return "samples.png"


def _parameter(name: str, study: pa.Table, predictions: pa.Table, report: Path) -> dict[str, Any]:
    """All that the page shows of one parameter: names of its figures, and the study's rows by training set."""
    shown = quantity(name)
    scores = study.filter(pc.equal(study["parameter"], name))
    draw_tolerance(scores, shown, report / f"tolerance_{name}.png")
    sets: dict[str, list[dict[str, Any]]] = {}
    for score in scores.to_pylist():
        of_scale = (pc.field("train_set") == score["train_set"]) & (pc.field("test_scale") == score["test_scale"])
        points = predictions.filter(of_scale & (pc.field("parameter") == name))
        figure = f"scatter_{name}_{score['train_set']}_at_{score['test_scale']:g}.png"
        draw_scatter(points, score, shown, report / figure)
        sets.setdefault(score["train_set"], []).append(score | {"figure": figure})
    return {"quantity": shown, "tolerance": f"tolerance_{name}.png", "sets": sets}


def _constant(name: str, config: Config) -> dict[str, str]:
    """A constant of the campaign as people write it: one value, or the range that films draw from."""
    shown, value = quantity(name), getattr(config.campaign, name)
    ends = (value.low, value.high) if isinstance(value, Uniform) else (value,)
    return {"name": name, "value": f"{' to '.join(f'{end * shown.factor:g}' for end in ends)} {shown.unit}".rstrip()}


def _answer(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """The held-out film's answer and truth, in words; None before there is one."""
    answer = summary.get("answer")
    if answer is None:
        return None
    rows = []
    for name, constant in answer["constants"].items():
        shown = quantity(name)
        numbers = {key: f"{constant[key] * shown.factor:.3g}" for key in ("value", "true")}
        error = f"{constant['error'] * shown.factor:.2g}"
        rows.append(numbers | {"name": name, "error": error, "unit": shown.unit})
    return dict(answer) | {"rows": rows}


def _counts(films: pa.Table) -> dict[str, int]:
    """What the page's head counts, from the store's rows."""
    states = films["status"].to_pylist()
    counts = {"films": len(states), "not converged": states.count("not_converged"), "failed": states.count("failed")}
    return counts | {"field evaluations": pc.sum(films["evaluations"]).as_py()}


def _inline(picture: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"
