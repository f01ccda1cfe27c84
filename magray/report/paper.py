"""The results of the whole paper, as a page and as Markdown: its figures, and each parameter as a project shows it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from magray.config import FigureConfig
from magray.evaluation.tolerance import FACTOR
from magray.files.atomic import atomic_write
from magray.report.figures import COLOURS, MARKERS, Panel, Series, draw_scatter
from magray.report.html import write_page
from magray.report.labels import quantity
from magray.report.project import parameter_on_page
from magray.report.scores import label, parameter_of, seeds_of
from magray.report.tables import Table, figure_table, markdown, score_table


@dataclass(frozen=True)
class Shown:
    """A figure and what it shows of one parameter: estimates of one seed with their panel's name, and the study."""

    config: FigureConfig
    estimates: pa.Table
    study: pa.Table


def write_paper(figures: Sequence[Shown], studies: Mapping[str, pa.Table], causes: pa.Table, folder: Path) -> Path:
    """Write index.html, README.md and their figures into a folder; returns the page's path.

    studies: parameter -> its rows of STUDY. causes: CAUSES of all parameters.
    """
    shown = [_figure(figure, folder) for figure in figures]
    parameters = [parameter_on_page(study, causes, folder) for study in studies.values()]
    write_page("paper.html", folder / "index.html", figures=shown, parameters=parameters)
    scales = sorted({scale for figure in figures for panel in figure.config.panels for scale in panel.test})
    at_these = {name: score_table(study.filter(pc.field("test_scale").isin(scales))) for name, study in studies.items()}
    with atomic_write(folder / "README.md") as unfinished:
        unfinished.write_text("\n".join(_lines(shown, parameters, at_these)), encoding="utf-8")
    return folder / "index.html"


def _figure(figure: Shown, folder: Path) -> dict[str, Any]:
    """Draw a figure; what the template and the Markdown show of it."""
    name, shown = figure.config.figure, quantity(parameter_of(figure.study))
    draw_scatter(_panels(figure), shown, folder / f"fig{name}.png")
    table = figure_table(figure.config, figure.study)
    return {"name": name, "quantity": shown, "picture": f"fig{name}.png", "table": table}


def _panels(figure: Shown) -> list[Panel]:
    """As the paper lays them out: one for each training set, with a marker for each test scale."""
    panels, scores = [], seeds_of(figure.study)
    for panel in figure.config.panels:
        clouds = []
        for scale, colour, marker in zip(panel.test, COLOURS, MARKERS, strict=False):
            mine = (pc.field("panel") == panel.name) & (pc.field("test_scale") == scale)
            r2 = np.mean([row["r2"] for row in scores[panel.train, scale]])
            clouds.append(Series(figure.estimates.filter(mine), colour, marker, f"{scale:g} µm, R² {r2:.2f}"))
        panels.append(Panel(f"{figure.config.figure}{panel.name}", f"at {label(panel.train)}", tuple(clouds)))
    return panels


def _lines(
    figures: Sequence[Mapping[str, Any]], parameters: Sequence[Mapping[str, Any]], scores: Mapping[str, Table]
) -> Iterator[str]:
    """README.md. scores: by parameter, at the scales that the figures show."""
    yield "# The paper in numbers"
    yield ""
    yield "Mean over the seeds of the fit ± their standard deviation. Made by `magray paper`; index.html shows more."
    yield ""
    for figure in figures:
        yield from _section(f"Figure {figure['name']}", figure["table"], figure["picture"])
    for parameter in parameters:
        name = parameter["quantity"].name
        where = f"Tolerance, {name}: where the MAE stays under {FACTOR:g} × its least"
        yield from _section(where, parameter["tolerance"], parameter["curves"])
        why = f"Why one scale fails at another, {name}: MAE where only the domains or only the walls look different"
        if parameter["causes"]:
            yield from _section(why, parameter["causes"])
        yield from _section(f"All training sets at the scales above, {name}", scores[name])


def _section(heading: str, table: Table, picture: str | None = None) -> Iterator[str]:
    yield f"## {heading}"
    yield ""
    if picture:
        yield f"![{heading}]({picture})"
        yield ""
    yield from markdown(table)
    yield ""
