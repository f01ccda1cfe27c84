"""Draw a study as error curves over test scales with tolerance bands, and as a heat map."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter
from numpy.typing import NDArray

from magray.evaluation.study import TWO_NUMBERS
from magray.evaluation.tolerance import tolerance_band
from magray.report.figures import COLOURS, FAINT, INK, MARKERS, STYLE, save, style_axes
from magray.report.labels import Quantity, label, quantity
from magray.report.scores import error_curves, parameter_of, seeds_of, train_sets, trained_spans

_LINES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
_GOODNESS = LinearSegmentedColormap.from_list(
    "goodness", ["#17698a", "#6fb1bd", "#c9e0df", "#fbf3e6"]
)  # small errors first
_FEW_SCALES = 7  # up to so many, the cells of a heat map have room for numbers


@dataclass(frozen=True)
class LineStyle:
    """Colour, line and marker of a training set. No two sets share a style, and the first eight differ in markers."""

    colour: str
    line: Any
    marker: str


def line_style(train_set: str, place: int) -> LineStyle:
    """Return the style of the training set at a place of its study. The baseline looks the same in every study."""
    if train_set == TWO_NUMBERS:
        return LineStyle("#6b7680", (0, (1, 2)), "|")
    rounds = place // len(COLOURS)
    return LineStyle(
        COLOURS[place % len(COLOURS)], _LINES[(place + rounds) % len(_LINES)], MARKERS[(place + rounds) % len(MARKERS)]
    )


def draw_curves(study: pa.Table, path: Path) -> None:
    """Draw the MAE of each training set over test scales, and its tolerance band below.

    A curve is the mean over the seeds, with their range shaded. Markers show trained scales, a thick line a trained
    range. A band that ends in an arrow goes on beyond the last test scale.
    """
    shown, sets = quantity(parameter_of(study)), train_sets(study)
    below = 0.37 * len(sets) + 0.1  # inches
    drawing = Figure(figsize=(5.4, 3.6 + below), layout="constrained")
    curves, bands = drawing.subplots(2, 1, sharex=True, height_ratios=(3, below))
    for row, name in enumerate(sets):
        style = line_style(name, row)
        draw_curve(curves, study, name, style, shown)
        _draw_band(bands, study, name, style, row)
    log_errors(curves)
    curves.set_ylabel(f"MAE of {shown.label}", **STYLE)
    bands.set_ylim(len(sets) - 0.55, -0.85)
    bands.set_yticks([])
    bands.margins(x=0.06)
    bands.set_xlabel("test scale (µm)", **STYLE)
    bands.grid(axis="x", color=FAINT, alpha=0.22, linewidth=0.6)
    bands.set_title("trained scales, and tolerance: where the MAE is under twice its minimum", loc="left", **SMALL)
    for axes in (curves, bands):
        style_axes(axes)
    save(drawing, path)


def log_errors(axes: Axes) -> None:
    """Make the y axis logarithmic, with ticks at 1, 2 and 5."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(which="both", color=FAINT, alpha=0.22, linewidth=0.6)


SMALL = STYLE | {"fontsize": 9}


def draw_curve(
    axes: Axes, study: pa.Table, train_set: str, style: LineStyle, shown: Quantity, label: str | None = None
) -> None:
    """Draw the mean MAE of a training set's seeds over test scales, their range, and marks at the trained scales."""
    scales, errors = error_curves(study, train_set)
    mean = errors.mean(axis=0) * shown.factor
    axes.plot(scales, mean, color=style.colour, linestyle=style.line, linewidth=1.5, label=label)
    if len(errors) > 1:
        ends = (errors.min(axis=0) * shown.factor, errors.max(axis=0) * shown.factor)
        axes.fill_between(scales, *ends, color=style.colour, alpha=0.15, linewidth=0)
    for span in trained_spans(study, train_set):
        inside = (span[0] <= scales) & (scales <= span[1])
        draw_trained(axes, scales[inside], mean[inside], style)


def _draw_band(axes: Axes, study: pa.Table, train_set: str, style: LineStyle, y: int) -> None:
    scales, errors = error_curves(study, train_set)
    found = tolerance_band(scales.tolist(), errors.mean(axis=0).tolist())
    axes.plot([found.low, found.high], [y, y], color=style.colour, linestyle=style.line, linewidth=2)
    for end, is_open, arrow, away in ((found.low, found.open_low, "◂", -9), (found.high, found.open_high, "▸", 9)):
        if is_open:
            place: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "center_baseline"}
            axes.annotate(arrow, (end, y), xytext=(away, 0), color=style.colour, fontsize=13, **place)
        else:
            axes.plot(end, y, "|", color=style.colour, markersize=8, markeredgewidth=1.5)
    for span in trained_spans(study, train_set):
        draw_trained(axes, np.array(sorted(set(span))), np.array([y] * len(set(span))), style)
    axes.text(scales[0], y - 0.22, label(train_set), color=style.colour, fontsize=9, va="bottom")


def draw_trained(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], style: LineStyle) -> None:
    """Mark one trained scale, or all between the first and the last of `x`, µm."""
    if len(x) > 1:
        axes.plot(x, y, color=style.colour, linewidth=4.5, alpha=0.7, solid_capstyle="round")
    else:
        axes.plot(x, y, style.marker, color=style.colour, markersize=6.5, markeredgecolor="white", markeredgewidth=0.6)


def draw_heat_map(study: pa.Table, path: Path) -> None:
    """Draw the MAE of every training set at every test scale, mean over the seeds: darker is smaller.

    Trained scales are framed. With up to _FEW_SCALES test scales, the cells hold R² and MAE.
    """
    shown, sets = quantity(parameter_of(study)), train_sets(study)
    scales = error_curves(study, sets[0])[0]
    errors = np.array([error_curves(study, name)[1].mean(axis=0) for name in sets]) * shown.factor
    few = len(scales) <= _FEW_SCALES
    cell = (min(1.2, 5.2 / len(scales)), 0.75) if few else (4.4 / len(scales), 0.42)  # inches
    drawing = Figure(figsize=(2.2 + cell[0] * len(scales), 1.1 + cell[1] * len(sets)), layout="constrained")
    axes = drawing.subplots()
    image = axes.imshow(errors, norm=LogNorm(), cmap=_GOODNESS, aspect="auto")
    for y, name in enumerate(sets):
        for low, high in trained_spans(study, name):
            _frame(axes, int(np.searchsorted(scales, low)), int(np.searchsorted(scales, high)), y)
    if few:
        _write_cells(axes, study, errors, shown)
    else:
        bar = drawing.colorbar(image, label=f"MAE of {shown.label}", format="{x:g}")
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
    _name_axes(axes, scales, sets)
    save(drawing, path)


def _frame(axes: Axes, first: int, last: int, y: int) -> None:
    """Draw a frame around the cells from the first to the last scale of a row."""
    axes.add_patch(
        Rectangle(
            (first - 0.42, y - 0.42), last - first + 0.84, 0.84, fill=False, edgecolor=INK, linewidth=1.6, zorder=3
        )
    )


def _write_cells(axes: Axes, study: pa.Table, errors: NDArray[np.float64], shown: Quantity) -> None:
    lightness = np.ma.getdata(LogNorm()(errors))
    sets, scales = train_sets(study), error_curves(study, train_sets(study)[0])[0].tolist()
    for (name, scale), seeds in seeds_of(study).items():
        y, x = sets.index(name), scales.index(scale)
        colour = "white" if lightness[y, x] < 0.3 else INK
        r2 = np.mean([row["r2"] for row in seeds])
        axes.text(x, y - 0.12, f"{r2:.2f}", ha="center", va="center", color=colour, fontsize=13, fontweight="bold")
        mae = f"{errors[y, x]:.2g} {shown.unit}"
        axes.text(x, y + 0.23, mae, ha="center", va="center", color=colour, fontsize=8)


def _name_axes(axes: Axes, scales: NDArray[np.float64], sets: list[str]) -> None:
    every = max(1, round(len(scales) / 8))
    axes.set_xticks(range(0, len(scales), every), [f"{scale:g}" for scale in scales[::every]], **STYLE)
    axes.set_yticks(
        range(len(sets)), [label(name).replace(", scale known", ",\nscale known") for name in sets], **SMALL
    )
    axes.set_xlabel("test scale (µm)", **STYLE)
    axes.set_ylabel("trained at", **STYLE)
    axes.tick_params(which="both", length=0)
    for edges, between in ((axes.xaxis, len(scales)), (axes.yaxis, len(sets))):
        edges.set_minor_locator(FixedLocator(np.arange(0.5, between - 1).tolist()))
    axes.grid(which="minor", color="white", linewidth=1.5 if len(scales) <= _FEW_SCALES else 0.8)
    axes.spines[:].set_visible(False)
