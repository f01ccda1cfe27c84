"""Write the results of a study of scale cues: a figure, and tables as Markdown."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from magray.evaluation.study import TWO_NUMBERS
from magray.files.atomic import atomic_write
from magray.report.curves import LineStyle, draw_trained, line_style, log_errors
from magray.report.figures import FAINT, INK, STYLE, save, style_axes
from magray.report.labels import label
from magray.report.scores import of_parameter, train_sets, trained_spans
from magray.report.tables import NOTHING, Cell, Table, markdown

PICTURE = "scale_cues.png"
_ROWS = {"r2": "1 − R²", "read_as": "trained scale that\na picture is taken for (µm)"}
_TABLES = {
    "r2": "R²",
    "nearby": "share of pictures that are taken for the trained scale itself, or for the next one on either side",
    "read_as": "trained scale that pictures are taken for, µm",
}


def write_scale_cues(table: pa.Table, folder: Path) -> Path:
    """Write README.md and its figure into a folder; return the path of README.md. table: SCALE_CUES."""
    folder.mkdir(parents=True, exist_ok=True)
    draw_scale_cues(table, folder / PICTURE)
    with atomic_write(folder / "README.md") as unfinished:
        unfinished.write_text("\n".join(_lines(table)) + "\n", encoding="utf-8")
    return folder / "README.md"


def draw_scale_cues(table: pa.Table, path: Path) -> None:
    """Draw unexplained variance and the probe's reading over test scales, a column for each parameter.

    A curve is the mean over the seeds of the training set that all settings share, with their range shaded.
    """
    parameters = pc.unique(table["parameter"]).to_pylist()
    drawing = Figure(figsize=(1.2 + 4.1 * len(parameters), 6.6), layout="constrained")
    panels = drawing.subplots(len(_ROWS), len(parameters), squeeze=False, sharex=True, sharey="row")
    for column, parameter in enumerate(parameters):
        rows = of_parameter(table, parameter)
        for axes, (name, title) in zip(panels[:, column], _ROWS.items(), strict=True):
            _draw_settings(axes, rows, name)
            if column == 0:
                axes.set_ylabel(title, **STYLE)
        panels[0, column].set_title(parameter, **STYLE | {"fontweight": "bold"})
        panels[-1, column].set_xlabel("test scale (µm)", **STYLE)
    above: dict[str, Any] = {"loc": "outside upper left", "ncols": 1 + len(parameters), "frameon": False, "fontsize": 9}
    drawing.legend(*panels[0, 0].get_legend_handles_labels(), **above, labelcolor=INK)
    save(drawing, path)


def _draw_settings(axes: Axes, rows: pa.Table, name: str) -> None:
    shared = _shared_set(rows)
    for place, setting in enumerate(_settings(rows)):
        style = line_style(setting, place)
        _draw_curve(axes, _of(rows, setting, shared), name, style, in_words(setting))
    if name == "r2":
        _draw_curve(
            axes, _of(rows, _settings(rows)[0], TWO_NUMBERS), name, line_style(TWO_NUMBERS, 0), label(TWO_NUMBERS)
        )
        log_errors(axes)
    else:
        scales = np.unique(rows["test_scale"].to_numpy())
        axes.plot(scales, scales, color=FAINT, linewidth=1, zorder=1)
    style_axes(axes)


def _draw_curve(axes: Axes, rows: pa.Table, name: str, style: LineStyle, text: str) -> None:
    scales, of_seeds = _over_scales(rows, name)
    shown = 1 - of_seeds if name == "r2" else of_seeds
    mean = shown.mean(axis=0)
    axes.plot(scales, mean, color=style.colour, linestyle=style.line, linewidth=1.5, label=text)
    axes.fill_between(scales, shown.min(axis=0), shown.max(axis=0), color=style.colour, alpha=0.15, linewidth=0)
    for low, high in trained_spans(rows, train_sets(rows)[0]):
        inside = (low <= scales) & (scales <= high)
        draw_trained(axes, scales[inside], mean[inside], style)


def _lines(table: pa.Table) -> Iterator[str]:
    """Return the lines of README.md."""
    yield "# What tells networks the scale of a picture?"
    yield ""
    yield "Means over the seeds ± their standard deviation. Trained scales are bold. Made by `magray scale-cues`."
    yield ""
    yield f"![Errors and readings of the scale, over test scales]({PICTURE})"
    yield ""
    yield "## Between the trained scales"
    yield ""
    yield from markdown(between_table(table))
    yield ""
    for parameter in pc.unique(table["parameter"]).to_pylist():
        rows = of_parameter(table, parameter)
        for name, title in _TABLES.items():
            yield f"## {parameter}: {title}"
            yield ""
            yield from markdown(cues_table(rows, name))
            yield ""


def between_table(table: pa.Table) -> Table:
    """Return what each setting costs between the trained scales, of the training set that all settings share.

    For each parameter: the mean MAE there over that at the trained scales, the least R² there, and the share of
    pictures at trained scales that the probe takes for their own.
    """
    parameters = pc.unique(table["parameter"]).to_pylist()
    heads = [
        f"{name}: {what}" for name in parameters for what in ("MAE between ÷ at trained", "least R²", "recognised")
    ]
    lines = []
    for setting in _settings(table):
        cells: list[Cell] = []
        for parameter in parameters:
            rows = of_parameter(table, parameter)
            of_setting = _of(rows, setting, _shared_set(rows))
            cells += _between(of_setting) if of_setting.num_rows else [Cell(NOTHING, np.nan)] * 3
        lines.append((Cell(in_words(setting)), *cells))
    return Table(("films", *heads), tuple(lines))


def _between(rows: pa.Table) -> list[Cell]:
    scales, mae = _over_scales(rows, "mae")
    trained = np.isin(scales, [low for low, _ in trained_spans(rows, train_sets(rows)[0])])
    between = ~trained & (scales > scales[trained].min()) & (scales < scales[trained].max())
    r2, nearby = (_over_scales(rows, name)[1] for name in ("r2", "nearby"))
    ratio = mae[:, between].mean(axis=1) / mae[:, trained].mean(axis=1)
    columns = (ratio, r2[:, between].min(axis=1), nearby[:, trained].mean(axis=1))
    return [_cell(values, trained=False) for values in columns]


def cues_table(rows: pa.Table, name: str) -> Table:
    """Return a column of SCALE_CUES, of one parameter, by setting and training set, at each test scale.

    Trained scales are in bold.
    """
    lines = []
    for setting in _settings(rows):
        for train_set in train_sets(rows.filter(pc.equal(rows["setting"], setting))):
            of_set = _of(rows, setting, train_set)
            scales, values = _over_scales(of_set, name)
            if np.isfinite(values).all():
                trained = {low for low, _ in trained_spans(of_set, train_set)}
                cells = (_cell(values[:, i], scale in trained) for i, scale in enumerate(scales.tolist()))
                lines.append((Cell(in_words(setting)), Cell(label(train_set)), *cells))
    scales = np.unique(rows["test_scale"].to_numpy()).tolist()
    return Table(("films", "trained at", *(f"{scale:g} µm" for scale in scales)), tuple(lines))


def in_words(setting: str) -> str:
    """Return the name of a setting as text."""
    return setting.replace("-", " ")


def _cell(values: Any, trained: bool) -> Cell:
    mean, spread = float(values.mean()), float(values.std())
    text = f"{mean:.2f}" + (f" ± {spread:.2f}" if len(values) > 1 else "")
    return Cell((f"**{text}**" if trained else text).replace("-", "−"), mean)


def _settings(rows: pa.Table) -> list[str]:
    settings: list[str] = pc.unique(rows["setting"]).to_pylist()
    return settings


def _shared_set(rows: pa.Table) -> str:
    """Return the first training set, which every setting has."""
    return train_sets(rows)[0]


def _of(rows: pa.Table, setting: str, train_set: str) -> pa.Table:
    return rows.filter((pc.field("setting") == setting) & (pc.field("train_set") == train_set))


def _over_scales(rows: pa.Table, name: str) -> tuple[Any, Any]:
    """Return the test scales, µm, ascending, and a column there as (seeds, scales)."""
    ordered = rows.sort_by([("seed", "ascending"), ("test_scale", "ascending")])
    scales = np.unique(ordered["test_scale"].to_numpy())
    return scales, ordered[name].to_numpy().reshape(-1, len(scales))
