"""Write the page of a project and its figures, from its Parquet files, its store and summary.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from magray.config import Config, UniformRange
from magray.errors import UserError
from magray.evaluation.study import PREDICTIONS, STUDY, TWO_NUMBERS
from magray.evaluation.wall_ablation import FILE, WALL_ABLATION
from magray.files.atomic import read_table
from magray.films.origin import protocol_or_origin
from magray.report.figures import TRAINED, UNTRAINED, Panel, Series, draw_samples, draw_scatter, sample_rows
from magray.report.html import write_page
from magray.report.labels import in_file_name, label, quantity
from magray.report.parameter import parameter_figures, parameter_sections
from magray.report.scores import Row, of_parameter, parameter_of, scales_to_show, seeds_of, train_sets
from magray.report.summary import HeldOutAnswer, Summary
from magray.report.tables import number
from magray.store import Store

_CONSTANTS = ("Ms", "Ku1", "Aex", "D", "sigma")
_SAMPLES = "samples.png"


def write_report(folder: Path, store: Store, config: Config, summary: Summary) -> Path:
    """Write report/index.html and its figures into a project's folder; return the page's path.

    Needs study.parquet and predictions.parquet; wall_ablation.parquet is shown if it exists. Raises UserError if these
    tables do not belong together.
    """
    report = folder / "report"
    report.mkdir(parents=True, exist_ok=True)
    films, predicted = store.table(), read_table(folder / "predictions.parquet", PREDICTIONS, ["test_scale"])
    tested = predicted["test_scale"].unique().to_pylist()
    study = _study_of(folder, config, tested)
    causes = read_table(folder / FILE, WALL_ABLATION) if (folder / FILE).exists() else None
    write_page(
        "project.html",
        report / "index.html",
        config=config,
        summary=summary,
        samples=_draw_samples(store, films, config.fit.targets[0], report),
        parameters=[
            parameter_sections(of_parameter(study, name), causes, report)
            | {"scatter": _draw_scatters(folder / "predictions.parquet", of_parameter(study, name), tested, report)}
            for name in config.fit.targets
        ],
        constants=[_constant(name, config) for name in _CONSTANTS],
        answer=_answer(summary.answer),
        yaml=config.to_yaml(),
        microscope=_microscope(config),
        counts=_counts(films),
        seconds=_seconds(summary.seconds),
        protocols=[str(protocol_or_origin(text)) for text in sorted(films["protocol"].unique().to_pylist())],
        solvers=sorted(films["solver"].unique().to_pylist()),
    )
    return report / "index.html"


def figure_names(config: Config) -> list[str]:
    """Return the names of all figures that `write_report` may draw for a config."""
    names = {_SAMPLES}
    for target in config.fit.targets:
        names |= {*parameter_figures(target)}
        names |= {_scatter_name(target, train_set) for train_set in (*map(str, config.fit.train_scales), TWO_NUMBERS)}
    return sorted(names)


def _study_of(folder: Path, config: Config, tested: Sequence[float]) -> pa.Table:
    """Return STUDY of a project. Raises UserError unless every set has a score at each scale that was `tested`."""
    study = read_table(folder / "study.parquet", STUDY)
    for name in config.fit.targets:
        of_target = of_parameter(study, name)
        scales = {*of_target["test_scale"].to_pylist(), *tested}
        pairs = {(train_set, scale) for train_set in train_sets(of_target) for scale in scales}
        if not pairs or pairs != set(seeds_of(of_target)):
            raise UserError(
                f"{folder}: study.parquet and predictions.parquet are not of one study; remove both and run again"
            )
    return study


def _draw_samples(store: Store, films: pa.Table, parameter: str, report: Path) -> str:
    """Draw sample pictures from the lowest value of a parameter to the highest; return the figure's name."""
    shown = quantity(parameter)
    rows = sample_rows(films, parameter)
    captions = [f"{parameter} {row[parameter] * shown.factor:.2f} {shown.unit}".rstrip() for row in rows]
    draw_samples(store.images([row["film_id"] for row in rows]), captions, report / _SAMPLES)
    return _SAMPLES


def _draw_scatters(predictions: Path, study: pa.Table, tested: Sequence[float], report: Path) -> list[dict[str, str]]:
    """Draw the estimates of each training set's first seed at some scales; return labels, figures and panel titles."""
    name, scores = parameter_of(study), seeds_of(study)
    scales = scales_to_show(study, tested)
    seeds = [rows[0]["seed"] for rows in scores.values()]
    wanted = pc.field("test_scale").isin(scales) & pc.field("seed").isin(seeds) & (pc.field("parameter") == name)
    columns = ["train_set", "seed", "test_scale", "set_value", "estimated"]
    points, figures = read_table(predictions, PREDICTIONS, columns, wanted), []
    for train_set in train_sets(study):
        first = [scores[train_set, scale][0] for scale in scales]
        panels = [panel for row in first if (panel := _panel(row, points)).series[0].points.num_rows]
        if panels:
            figure = _scatter_name(name, train_set)
            draw_scatter(panels, quantity(name), report / figure)
            titles = [panel.title for panel in panels]
            figures.append({"trained_at": label(train_set), "figure": figure, "panels": "; ".join(titles)})
    return figures


def _scatter_name(parameter: str, train_set: str) -> str:
    return f"scatter_{parameter}_{in_file_name(train_set)}.png"


def _panel(score: Row, points: pa.Table) -> Panel:
    """Return the panel of the estimates behind one row of a study."""
    shown, colour = quantity(score["parameter"]), TRAINED if score["trained"] else UNTRAINED
    of_score = pc.field("train_set") == score["train_set"]
    for name in ("seed", "test_scale"):
        of_score &= pc.field(name) == score[name]
    note = f"R² {score['r2']:.2f}, MAE {number(score['mae'] * shown.factor, 2)} {shown.unit}".rstrip()
    title = f"{score['test_scale']:g} µm, {'trained' if score['trained'] else 'untrained'}"
    return Panel(title, note, (Series(points.filter(of_score), colour),), colour)


def _constant(name: str, config: Config) -> dict[str, str]:
    """Return a constant of the campaign in words: one value, or the range from which films are drawn."""
    shown, value = quantity(name), getattr(config.campaign, name)
    ends = (value.low, value.high) if isinstance(value, UniformRange) else (value,)
    return {"name": name, "value": f"{' to '.join(f'{end * shown.factor:g}' for end in ends)} {shown.unit}".rstrip()}


def _microscope(config: Config) -> str:
    """Return the config's microscope in a sentence; "" if it has none."""
    microscope = config.fit.microscope
    if microscope is None:
        return ""
    blur = " to ".join(f"{end * 1e9:g}" for end in microscope.blur)
    noise = " to ".join(f"{end:g}" for end in microscope.noise)
    return (
        f"All pictures are seen through a microscope: a Gaussian point spread of {blur} nm (standard deviation), and "
        f"noise with a standard deviation of {noise}, in units in which domains differ by 2."
    )


def _answer(answer: HeldOutAnswer | None) -> dict[str, Any] | None:
    """Return the held-out film's estimated and true values as text; None if there is no answer."""
    if answer is None:
        return None
    rows = []
    for name, constant in answer.constants.items():
        shown = quantity(name)
        value, true, error = (number * shown.factor for number in (constant.value, constant.true, constant.error))
        texts = {"value": f"{value:.3g}", "true": f"{true:.3g}", "error": f"{error:.2g}"}
        rows.append(texts | {"name": name, "unit": shown.unit})
    return answer.model_dump() | {"rows": rows}


def _counts(films: pa.Table) -> dict[str, int]:
    """Return the counts at the head of the page, from the store's rows."""
    states = films["status"].to_pylist()
    counts = {"films": len(states), "not converged": states.count("not_converged"), "failed": states.count("failed")}
    return counts | {"field evaluations": pc.sum(films["evaluations"]).as_py()}


def _seconds(by_stage: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds of each stage, with all fits added up."""
    fits = [seconds for stage, seconds in by_stage.items() if stage.startswith("fit ")]
    others = {stage: seconds for stage, seconds in by_stage.items() if not stage.startswith("fit ")}
    return others | ({f"{len(fits)} fit{'s' if len(fits) > 1 else ''}": sum(fits)} if fits else {})
