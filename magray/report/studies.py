"""Studies for people: figures as the paper lays them out, error curves, heat maps, and tables in Markdown."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from magray.config import FigureConfig
from magray.report.figures import FAINT, INK, STYLE, quiet, save
from magray.report.page import quantity
from magray.tolerance.band import FACTOR, band

MARKERS = "os^Dv<>"
COLOURS = ("#17698a", "#d1671b", "#6a8f3c", "#8a3f6b", "#3a4a5c", "#b8963e")


def draw_panels(figure: FigureConfig, estimates: pa.Table, study: pa.Table, path: Path) -> None:
    """Estimated against set values, a panel for each training set and a marker for each test scale."""
    shown = quantity(estimates["parameter"][0].as_py())
    drawing = Figure(figsize=(3.4 * len(figure.panels), 3.9), layout="constrained")
    for axes, panel in zip(np.atleast_1d(drawing.subplots(1, len(figure.panels))), figure.panels, strict=True):
        mine = estimates.filter(pc.equal(estimates["panel"], panel.name))
        low, high = (getattr(pc, end)(mine["set_value"]).as_py() * shown.factor for end in ("min", "max"))
        axes.plot([low, high], [low, high], color=FAINT, linewidth=1)
        for scale, marker, colour in zip(panel.test, MARKERS, COLOURS, strict=False):
            points = mine.filter(pc.equal(mine["test_scale"], scale))
            x, y = (points[name].to_numpy() * shown.factor for name in ("set_value", "estimated"))
            r2 = np.mean([row["r2"] for row in rows_of(study, shown.name, panel.train, scale)])
            label = f"{scale:g} µm, R² {r2:.2f}"
            axes.scatter(x, y, s=9, marker=marker, color=colour, alpha=0.5, linewidth=0, label=label)
        margin = 0.15 * (high - low)
        axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), aspect="equal")
        axes.set_title(f"{figure.figure}{panel.name}: trained at {panel.train.replace('+', ', ')} µm", **STYLE)
        axes.set_xlabel(f"set {shown.label}", **STYLE)
        axes.set_ylabel(f"estimated {shown.label}", **STYLE)
        axes.legend(fontsize=7, frameon=False, loc="upper left", markerscale=1.6)
        quiet(axes)
    save(drawing, path)


def draw_curves(study: pa.Table, path: Path) -> None:
    """MAE over test scales of each training set: the mean of its seeds, their range, and its trained scales as dots."""
    shown = quantity(study["parameter"][0].as_py())
    drawing = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = drawing.subplots()
    for train_set, colour in zip(_train_sets(study), COLOURS, strict=False):
        scales, errors = error_curves(study, train_set)
        mean = errors.mean(axis=0) * shown.factor
        axes.plot(scales, mean, color=colour, label=f"{train_set.replace('+', ', ')} µm")
        axes.fill_between(
            scales, errors.min(axis=0) * shown.factor, errors.max(axis=0) * shown.factor, color=colour, alpha=0.2
        )
        trained = trained_scales(study, train_set)
        axes.plot(trained, np.interp(trained, scales, mean), "o", color=colour, markersize=5)
    axes.set_yscale("log")
    axes.set_xlabel("test scale (µm)", **STYLE)
    axes.set_ylabel(f"mean absolute error of {shown.label}", **STYLE)
    axes.legend(title="trained at", fontsize=8, title_fontsize=8, frameon=False)
    _quiet_log(axes)
    save(drawing, path)


def draw_heat_map(study: pa.Table, path: Path) -> None:
    """MAE of every training set at every test scale, the mean of the seeds; trained scales have a frame."""
    shown, sets = quantity(study["parameter"][0].as_py()), _train_sets(study)
    scales = error_curves(study, sets[0])[0]
    errors = np.array([error_curves(study, name)[1].mean(axis=0) for name in sets]) * shown.factor
    drawing = Figure(figsize=(2 + 0.28 * len(scales), 1.3 + 0.5 * len(sets)), layout="constrained")
    axes = drawing.subplots()
    image = axes.imshow(errors, norm=LogNorm(), cmap=mpl.colormaps["YlGnBu_r"], aspect="auto")
    for y, name in enumerate(sets):
        for trained in trained_scales(study, name):
            x = int(np.argmin(np.abs(scales - trained)))
            axes.plot(x, y, "s", markersize=9, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.2)
    every = max(1, len(scales) // 11)
    axes.set_xticks(range(0, len(scales), every), [f"{scale:g}" for scale in scales[::every]], **STYLE)
    axes.set_yticks(range(len(sets)), [name.replace("+", "  ") for name in sets], **STYLE)
    axes.set_xlabel("test scale (µm)", **STYLE)
    axes.set_ylabel("train scales (µm)", **STYLE)
    drawing.colorbar(image, label=f"MAE of {shown.label}")
    save(drawing, path)


def write_tables(figures: Sequence[FigureConfig], study: pa.Table, causes: pa.Table) -> str:
    """Markdown: each panel's scores at each of its scales, the tolerance of each training set, and why others fail."""
    lines = [
        "# The paper in numbers",
        "",
        "Mean over the seeds of the fit ± their standard deviation. Made by `magray paper`.",
        "",
    ]
    for figure in figures:
        lines += [f"## Figure {figure.figure}", "", *_figure_table(figure, study), ""]
    lines += [f"## Tolerance: where the MAE stays under {FACTOR:g} × its least", "", *_tolerance_table(study), ""]
    lines += ["## Why one scale fails at another: MAE where only the domains or only the walls look different", ""]
    lines += [*_causes_table(causes), ""]
    return "\n".join(lines)


def _figure_table(figure: FigureConfig, study: pa.Table) -> Iterator[str]:
    yield "| panel | trained at, µm | tested at | R² | MAE | bias | bias, low end | high end | views | the paper |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for panel in figure.panels:
        for scale in panel.test:
            rows = [row for name in _parameters(study) for row in rows_of(study, name, panel.train, scale)]
            shown = quantity(rows[0]["parameter"])
            r2 = _spread([row["r2"] for row in rows], 1.0, 3)
            errors = [
                _spread([row[name] for row in rows], shown.factor, 4)
                for name in ("mae", "bias", "bias_low", "bias_high")
            ]
            place = f"{figure.figure}{panel.name} | {panel.train.replace('+', ' ')} | {scale:g} µm"
            yield f"| {place} | {r2} | {' | '.join(errors)} {shown.unit} | {rows[0]['n']} | {panel.paper} |"


def _tolerance_table(study: pa.Table) -> Iterator[str]:
    yield "| parameter | trained at, µm | least MAE | at | band, µm | width, µm |"
    yield "|---|---|---|---|---|---|"
    for parameter in _parameters(study):
        shown, rows = quantity(parameter), study.filter(pc.equal(study["parameter"], parameter))
        for name in _train_sets(rows):
            scales, errors = error_curves(rows, name)
            found = band(scales.tolist(), errors.mean(axis=0).tolist())
            ends = (
                f"{'≤ ' if found.open_low else ''}{found.low:.2f} to {'≥ ' if found.open_high else ''}{found.high:.2f}"
            )
            least = f"{found.least * shown.factor:.3g} {shown.unit}"
            yield f"| {parameter} | {name.replace('+', ' ')} | {least} | {found.best:g} | {ends} | {found.width:.2f} |"


def _causes_table(causes: pa.Table) -> Iterator[str]:
    yield "| parameter | trained at, µm | tested at | neither | domains | walls | both |"
    yield "|---|---|---|---|---|---|---|"
    found: dict[tuple[str, str, float], dict[str, float]] = {}
    for row in causes.to_pylist():
        key = (row["parameter"], row["train_set"], row["test_scale"])
        found.setdefault(key, {})[row["changed"]] = row["mae"]
    for (parameter, train_set, scale), errors in found.items():
        shown = quantity(parameter)
        numbers = " | ".join(f"{errors[name] * shown.factor:.3g}" for name in ("neither", "domains", "walls", "both"))
        yield f"| {parameter}, {shown.unit} | {train_set} | {scale:g} µm | {numbers} |"


def rows_of(study: pa.Table, parameter: str, train_set: str, scale: float) -> list[dict[str, Any]]:
    """The study's rows of a parameter, training set and test scale: one a seed."""
    wanted = (pc.field("parameter") == parameter) & (pc.field("train_set") == train_set)
    rows: list[dict[str, Any]] = study.filter(wanted & (pc.field("test_scale") == scale)).to_pylist()
    return rows


def error_curves(study: pa.Table, train_set: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Test scales, µm, ascending, and the MAE of a training set at each of them, SI: (seeds, scales)."""
    rows = study.filter(pc.equal(study["train_set"], train_set)).sort_by(
        [("seed", "ascending"), ("test_scale", "ascending")]
    )
    scales = np.unique(rows["test_scale"].to_numpy())
    return scales, rows["mae"].to_numpy().reshape(-1, len(scales))


def trained_scales(study: pa.Table, train_set: str) -> list[float]:
    """The test scales, µm, that a training set has seen."""
    rows = study.filter((pc.field("train_set") == train_set) & pc.field("trained"))
    return sorted(set(rows["test_scale"].to_pylist()))


def _parameters(study: pa.Table) -> list[str]:
    return list(dict.fromkeys(study["parameter"].to_pylist()))


def _train_sets(study: pa.Table) -> list[str]:
    return list(dict.fromkeys(study["train_set"].to_pylist()))


def _spread(values: Sequence[float], factor: float, digits: int) -> str:
    """Mean ± standard deviation."""
    return f"{np.mean(values) * factor:.{digits}g} ± {np.std(values) * factor:.1g}"


def _quiet_log(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="both", color=FAINT, labelcolor=INK, labelsize=9)
    axes.grid(axis="y", which="both", color=FAINT, alpha=0.25)
