"""Figures of the report, each a PNG. Trained scales are drawn in one colour, untrained ones in another, everywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

INK, FAINT = "#1b2733", "#9aa7b2"
TRAINED, UNTRAINED = "#17698a", "#d1671b"
GOODNESS = LinearSegmentedColormap.from_list("goodness", ["#fbf3e6", "#c9e0df", "#6fb1bd", "#17698a"])
SAMPLES = (2, 4)  # rows and columns of sample pictures
MARGIN = 0.35  # room for estimates beyond the range of set values, in widths of that range
DPI = 160
STYLE: dict[str, Any] = {"color": INK, "fontsize": 10}


@dataclass(frozen=True)
class Quantity:
    """A parameter with the unit in which people read it: SI value × factor is in `unit`."""

    name: str
    factor: float
    unit: str

    @property
    def label(self) -> str:
        """Name and unit, as on an axis."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


def draw_samples(pictures: NDArray[np.uint8], captions: Sequence[str], path: Path) -> None:
    """Sample pictures (n, ny, nx), each under its caption: up to two rows of four."""
    rows, columns = SAMPLES
    figure = Figure(figsize=(2.1 * columns, 2.32 * rows), layout="constrained")
    for place, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if place < len(pictures):
            axes.imshow(pictures[place], cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
            axes.set_title(captions[place], pad=5, fontsize=13, color=INK)
    save(figure, path)


def draw_scatter(points: pa.Table, score: dict[str, Any], quantity: Quantity, path: Path) -> None:
    """Estimated against set values of one estimator at one test scale. `score`: the study's row about them.

    The axes are the same for every scale. Estimates beyond them are drawn as triangles on the edge.
    """
    set_values, estimated = (points[name].to_numpy() * quantity.factor for name in ("set_value", "estimated"))
    low, high = set_values.min(), set_values.max()
    margin = MARGIN * ((high - low) or abs(high) or 1.0)  # one film alone has no range
    low, high = low - margin, high + margin
    colour = TRAINED if score["trained"] else UNTRAINED
    figure = Figure(figsize=(3.0, 3.45), layout="constrained")
    axes = figure.subplots()
    axes.plot([low, high], [low, high], color=FAINT, linewidth=1, zorder=1)
    for marker, chosen in (
        ("o", (low <= estimated) & (estimated <= high)),
        ("^", estimated > high),
        ("v", estimated < low),
    ):
        shown = np.clip(estimated[chosen], low, high)
        axes.scatter(
            set_values[chosen],
            shown,
            s=20,
            marker=marker,
            color=colour,
            alpha=_alpha(len(estimated)),
            lw=0,
            clip_on=False,
        )
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set_xlabel(f"set {quantity.label}", **STYLE)
    axes.set_ylabel(f"estimated {quantity.label}", **STYLE)
    state = "trained" if score["trained"] else "untrained"
    figure.suptitle(f"{score['test_scale']:g} µm, {state}", color=colour, fontsize=12.5, fontweight="bold")
    axes.set_title(f"R² {score['r2']:.2f}, MAE {score['mae'] * quantity.factor:.2g} {quantity.unit}".rstrip(), **STYLE)
    quiet(axes)
    save(figure, path)


def draw_tolerance(study: pa.Table, quantity: Quantity, path: Path) -> None:
    """The study of one parameter as a heat map: R² and MAE by training set and test scale. Dashed: untrained."""
    rows = study.to_pylist()
    sets = list(dict.fromkeys(row["train_set"] for row in rows))
    scales = sorted({row["test_scale"] for row in rows})
    figure = Figure(figsize=(2.2 + 1.35 * len(scales), 1.3 + 0.85 * len(sets)), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        _draw_cell(axes, scales.index(row["test_scale"]), sets.index(row["train_set"]), row, quantity)
    axes.set(xlim=(-0.5, len(scales) - 0.5), ylim=(len(sets) - 0.5, -0.5))
    axes.set_xticks(range(len(scales)), [f"{scale:g}" for scale in scales], **STYLE)
    axes.set_yticks(range(len(sets)), [name.replace("+", "  ") for name in sets], **STYLE)
    axes.set_xlabel("test scale (µm)", **STYLE)
    axes.set_ylabel("train scales (µm)", **STYLE)
    axes.set_title(f"R² and MAE of {quantity.label}", loc="left", fontsize=12, fontweight="bold", color=INK)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    save(figure, path)


def _draw_cell(axes: Axes, x: int, y: int, row: dict[str, Any], quantity: Quantity) -> None:
    goodness = float(np.clip(np.nan_to_num(row["r2"]), 0, 1))
    outline = INK if row["trained"] else UNTRAINED
    style = "solid" if row["trained"] else (0, (3, 2))
    box = Rectangle((x - 0.46, y - 0.43), 0.92, 0.86, facecolor=GOODNESS(goodness), edgecolor=outline, linestyle=style)
    axes.add_patch(box)
    colour = "white" if goodness > 0.75 else INK
    axes.text(x, y - 0.12, f"{row['r2']:.2f}", ha="center", va="center", color=colour, fontsize=14, fontweight="bold")
    mae = f"{row['mae'] * quantity.factor:.2g} {quantity.unit}"
    axes.text(x, y + 0.23, mae, ha="center", va="center", color=colour, fontsize=8)


def sample_rows(films: pa.Table, parameter: str) -> list[dict[str, Any]]:
    """Films for `draw_samples`: spread evenly over the parameter, from its lowest value to its highest."""
    ordered = films.filter(pc.not_equal(films["status"], "failed")).sort_by(
        [(parameter, "ascending"), ("film_id", "ascending")]
    )
    count = min(SAMPLES[0] * SAMPLES[1], ordered.num_rows)
    chosen = np.linspace(0, ordered.num_rows - 1, count).round().astype(int)
    rows: list[dict[str, Any]] = ordered.take(chosen).to_pylist()
    return rows


def _alpha(points: int) -> float:
    """The more points, the fainter each."""
    return float(np.clip(8 / np.sqrt(points), 0.15, 0.85))


def quiet(axes: Axes) -> None:
    """Axes without what nobody reads."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(color=FAINT, labelcolor=INK, labelsize=9)
    axes.locator_params(nbins=5)


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG."""
    figure.savefig(path, dpi=DPI, facecolor="white")
