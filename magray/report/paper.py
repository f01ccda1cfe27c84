"""Write the results of the whole paper as an HTML page and as Markdown."""

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
from magray.report.labels import label, quantity
from magray.report.parameter import parameter_sections
from magray.report.scores import parameter_of, seeds_of
from magray.report.tables import Table, figure_table, markdown, score_table, tolerance_widths_table


@dataclass(frozen=True)
class PaperFigure:
    """A figure of the paper: its config, the estimates of one seed with a column `panel`, and its study."""

    config: FigureConfig
    estimates: pa.Table
    study: pa.Table


def write_paper(
    figures: Sequence[PaperFigure],
    studies: Mapping[str, pa.Table],
    causes: pa.Table,
    microscope: Mapping[str, pa.Table],
    folder: Path,
) -> Path:
    """Write index.html, README.md and their figures into a folder; return the page's path.

    studies: {parameter: rows of STUDY}. causes: rows of WALL_ABLATION of all parameters. microscope: as studies, of
    films that are seen through a microscope.
    """
    drawn = [_draw_figure(figure, folder) for figure in figures]
    parameters = [parameter_sections(study, causes, folder) for study in studies.values()]
    write_page("paper.html", folder / "index.html", figures=drawn, parameters=parameters)
    scales = sorted({scale for figure in figures for panel in figure.config.panels for scale in panel.test})
    at_these = {name: score_table(study.filter(pc.field("test_scale").isin(scales))) for name, study in studies.items()}
    with atomic_write(folder / "README.md") as unfinished:
        lines = (*_heading(studies, microscope), *_lines(drawn, parameters, at_these))
        unfinished.write_text("\n".join(lines), encoding="utf-8")
    return folder / "index.html"


def _draw_figure(figure: PaperFigure, folder: Path) -> dict[str, Any]:
    """Draw a figure; return what the template and the Markdown need."""
    name, shown = figure.config.figure, quantity(parameter_of(figure.study))
    draw_scatter(_panels(figure), shown, folder / f"fig{name}.png")
    table = figure_table(figure.config, figure.study)
    return {"name": name, "quantity": shown, "picture": f"fig{name}.png", "table": table}


def _panels(figure: PaperFigure) -> list[Panel]:
    """Return the panels in the layout of the paper: one for each training set, with a marker for each test scale."""
    panels, scores = [], seeds_of(figure.study)
    for panel in figure.config.panels:
        series = []
        for scale, colour, marker in zip(panel.test, COLOURS, MARKERS, strict=False):
            mine = (pc.field("panel") == panel.name) & (pc.field("test_scale") == scale)
            r2 = np.mean([row["r2"] for row in scores[panel.train, scale]])
            series.append(Series(figure.estimates.filter(mine), colour, marker, f"{scale:g} µm, R² {r2:.2f}"))
        panels.append(Panel(f"{figure.config.figure}{panel.name}", f"at {label(panel.train)}", tuple(series)))
    return panels


def tolerance_lines(studies: Mapping[str, pa.Table], microscope: Mapping[str, pa.Table]) -> Iterator[str]:
    """Return the lines of the table of tolerances, as studies and microscope of `write_paper`."""
    through = {f"{name}, microscope": study for name, study in microscope.items()}
    yield from markdown(tolerance_widths_table({**studies, **through}))


def _heading(studies: Mapping[str, pa.Table], microscope: Mapping[str, pa.Table]) -> Iterator[str]:
    """Return the first lines of README.md, up to the table of tolerances."""
    yield "# The paper in numbers"
    yield ""
    yield "Means over the seeds ± their standard deviation. Made by `magray paper`; its page index.html has all scores."
    yield ""
    yield f"## Tolerance: width, µm, of the band of scales in which the MAE is under {FACTOR:g} × its minimum"
    yield ""
    yield from tolerance_lines(studies, microscope)
    yield ""


def _lines(
    figures: Sequence[Mapping[str, Any]], parameters: Sequence[Mapping[str, Any]], scores: Mapping[str, Table]
) -> Iterator[str]:
    """Return the other lines of README.md. scores: by parameter, at the scales of the figures."""
    for figure in figures:
        yield from _section(f"Figure {figure['name']}", figure["table"], figure["picture"])
    for parameter in parameters:
        name = parameter["quantity"].name
        where = f"Tolerance, {name}: scales where the MAE is under {FACTOR:g} × its minimum"
        yield from _section(where, parameter["tolerance"], parameter["curves"])
        why = f"Causes of errors at other scales, {name}: MAE where only the domains or only the walls are rescaled"
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
