"""Draw pictures of films and scatter plots of estimates as PNG, in the style that all figures share.

Trained scales have one colour and untrained scales another in all figures.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from magray.files.atomic import atomic_write
from magray.report.labels import Quantity

INK, FAINT = "#1b2733", "#9aa7b2"
TRAINED, UNTRAINED = "#17698a", "#d1671b"
# Eight colours that colour-blind people can tell apart, and markers that differ in black and white.
COLOURS = ("#0b62a8", "#c8500a", "#3f8f4f", "#9a3f86", "#2aa1c0", "#7a5a1e", "#5b5fc7", "#b02a37")
MARKERS = "os^DvPX*"
_SAMPLES = (2, 4)  # rows and columns of sample pictures
_MARGIN = 0.35  # room for estimates beyond the range of true values, in widths of that range
_POINTS = 400  # drawn of each series, about; more would hide each other
_MAX_COLUMNS = 4  # panels side by side
_DPI = 160
_PALETTE = 128  # colours of a PNG: looks the same with a third of the bytes
STYLE: dict[str, Any] = {"color": INK, "fontsize": 10}


@dataclass(frozen=True)
class Series:
    """Estimates at one test scale. points: a table with the columns set_value (the true value) and estimated, SI."""

    points: pa.Table
    colour: str
    marker: str = "o"
    label: str = ""  # "" in a panel of one series


@dataclass(frozen=True)
class Panel:
    """One plot of estimated against true values."""

    title: str
    note: str
    series: tuple[Series, ...]
    colour: str = INK  # of the title


def draw_samples(pictures: NDArray[np.uint8], captions: Sequence[str], path: Path) -> None:
    """Draw up to eight sample pictures (n, ny, nx), in two rows, each under its caption."""
    rows, columns = _SAMPLES
    figure = Figure(figsize=(2.1 * columns, 2.32 * rows), layout="constrained")
    for place, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if place < len(pictures):
            axes.imshow(pictures[place], cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
            axes.set_title(captions[place], pad=5, fontsize=13, color=INK)
    save(figure, path)


def draw_scatter(panels: Sequence[Panel], quantity: Quantity, path: Path) -> None:
    """Draw estimated against true values, panel by panel, on the same axes.

    Estimates beyond the axes are triangles on the edge. Of many points about _POINTS are drawn.
    """
    true = np.concatenate([one.points["set_value"].to_numpy() for panel in panels for one in panel.series])
    low, high = true.min() * quantity.factor, true.max() * quantity.factor
    margin = _MARGIN * ((high - low) or abs(high) or 1.0)  # a single film has no range
    ends = (low - margin, high + margin)
    rows = math.ceil(len(panels) / _MAX_COLUMNS)
    columns = math.ceil(len(panels) / rows)
    figure = Figure(figsize=(0.5 + 2.05 * columns, 0.3 + 2.45 * rows), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat
    for number, (axes, panel) in enumerate(zip(places, panels, strict=False)):
        _draw_panel(axes, panel, quantity, ends)
        axes.tick_params(labelbottom=number + columns >= len(panels))  # only where no panel is below
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    figure.supxlabel(f"true {quantity.label}", **STYLE)
    figure.supylabel(f"estimated {quantity.label}", **STYLE)
    save(figure, path)


def _draw_panel(axes: Axes, panel: Panel, quantity: Quantity, ends: tuple[float, float]) -> None:
    axes.plot(ends, ends, color=FAINT, linewidth=1, zorder=1)
    for series in panel.series:
        _draw_series(axes, series, quantity, ends)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.set_title(panel.title, pad=17, fontsize=10.5, fontweight="bold", color=panel.colour)
    above: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "center"}
    axes.annotate(panel.note, (0.5, 1.0), xytext=(0, 5), **above, **STYLE | {"fontsize": 8.5})
    if any(series.label for series in panel.series):
        legend = axes.legend(fontsize=7, frameon=False, loc="upper left", handletextpad=0.2, borderpad=0)
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1.0)
    style_axes(axes)


def _draw_series(axes: Axes, series: Series, quantity: Quantity, ends: tuple[float, float]) -> None:
    points = subsample(series.points)
    true, estimated = (points[name].to_numpy() * quantity.factor for name in ("set_value", "estimated"))
    low, high = ends
    inside = (low <= estimated) & (estimated <= high)
    for marker, chosen in ((series.marker, inside), ("^", estimated > high), ("v", estimated < low)):
        axes.scatter(
            true[chosen],
            np.clip(estimated[chosen], low, high),
            s=14,
            marker=marker,
            color=series.colour,
            alpha=float(np.clip(8 / np.sqrt(max(points.num_rows, 1)), 0.15, 0.85)),  # fainter where there are more
            lw=0,
            clip_on=False,
            label=series.label if chosen is inside and series.label else None,
        )


def subsample(points: pa.Table) -> pa.Table:
    """Return about _POINTS rows, evenly spaced. Rows are in the order of film ids, which is random."""
    step = max(1, points.num_rows // _POINTS)
    return points.take(pa.array(range(0, points.num_rows, step))) if step > 1 else points


def sample_rows(films: pa.Table, parameter: str) -> list[dict[str, Any]]:
    """Return the rows of up to eight films, evenly spread over a parameter from its lowest value to its highest."""
    ordered = films.filter(pc.not_equal(films["status"], "failed")).sort_by(
        [(parameter, "ascending"), ("film_id", "ascending")]
    )
    count = min(_SAMPLES[0] * _SAMPLES[1], ordered.num_rows)
    chosen = np.linspace(0, ordered.num_rows - 1, count).round().astype(int)
    rows: list[dict[str, Any]] = ordered.take(chosen).to_pylist()
    return rows


def style_axes(axes: Axes) -> None:
    """Remove the frame on the right and above, and draw the rest of the axes faintly."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(which="both", color=FAINT, labelcolor=INK, labelsize=9)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG with few colours."""
    drawn = BytesIO()
    figure.savefig(drawn, dpi=_DPI, facecolor="white", pil_kwargs={"compress_level": 1})
    with Image.open(drawn) as picture:
        few = picture.convert("RGB").quantize(_PALETTE, dither=Image.Dither.NONE)
    with atomic_write(path) as unfinished:
        few.save(unfinished, format="PNG", optimize=True, dpi=(_DPI, _DPI))
