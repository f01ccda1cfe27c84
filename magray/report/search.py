"""Write the page of a search: which training scales are enough, how others do, and the cost of the search."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from magray.config import SearchConfig
from magray.errors import UserError
from magray.report.curves import LineStyle, draw_trained, line_style, log_errors
from magray.report.figures import COLOURS, INK, STYLE, save, style_axes
from magray.report.html import write_page
from magray.report.labels import label
from magray.report.tables import Cell, Table
from magray.search.summary import summary_lines
from magray.search.trials import CandidateGroup, Row, SearchResult, Strategy, least_wrong, pareto_front, read_trials

_STRATEGIES: dict[Strategy, str] = {"search": "Ray Tune", "exhaustive": "every set"}
_ANY = "any, scale known"  # in place of a number of scales
_HEADS = (
    "scales",
    "trained at",
    "strategy",
    "views",
    "films",
    "worst error, %",
    "at",
    "seeds",
    "learning rate",
    "schedule",
    "width",
)


def write_search(folder: Path, config: SearchConfig, project: str) -> Path:
    """Write search.html and its figure beside a folder's search.parquet; return the page's path.

    Shows Ray Tune's search and the exhaustive one, if both were run. project: name of the project with the films.
    Raises UserError if there is no finished trial.
    """
    rows = read_trials(folder / "search.parquet").to_pylist()
    finished = {row["how"] for row in rows if row["status"] == "finished"}
    if not finished:
        raise UserError(f"{folder / 'search.parquet'} holds no finished trial; run magray search to its end")
    results = {
        strategy: SearchResult.of(rows, strategy, config.tolerance) for strategy in _STRATEGIES if strategy in finished
    }
    options = [option for found in results.values() for option in found.options]
    _draw_search(results, config.tolerance, folder / "search.png")
    scales = options[0].test_scales
    write_page(
        "search.html",
        folder / "search.html",
        project=project,
        ends=(scales[0], scales[-1]),
        tolerance=config.tolerance,
        answers={_STRATEGIES[strategy]: list(summary_lines(found, config)) for strategy, found in results.items()},
        costs=_costs(results),
        cheapest=_table({strategy: pareto_front(found.options) for strategy, found in results.items()}),
        options=_table({strategy: found.options for strategy, found in results.items()}, filtered=True),
        picture="search.png",
    )
    return folder / "search.html"


def _draw_search(results: dict[Strategy, SearchResult], tolerance: float, path: Path) -> None:
    """Draw the worst error of every option by its number of scales, and below the error curves of the best options."""
    drawing = Figure(figsize=(5.4, 8.2), layout="constrained")
    above, below = drawing.subplots(2, 1)
    options = [option for found in results.values() for option in found.options]
    kinds = sorted({_kind_of(option) for option in options}, key=lambda kind: (kind == _ANY, len(kind), kind))
    _draw_options(above, results, kinds)
    for place, kind in enumerate(kinds):
        best = least_wrong(option for option in options if _kind_of(option) == kind)
        if best is not None:
            _draw_curve(below, best, line_style(str(best.candidate.train_set), place))
    for axes in (above, below):
        log_errors(axes)
        style_axes(axes)
        axes.axhline(100 * tolerance, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    above.set_ylabel("mean error at the worst scale (% of range)", **STYLE)
    below.set_ylabel("mean error (% of range)", **STYLE)
    below.set_xlabel("test scale (µm)", **STYLE)
    for axes, title in ((above, "all finished trials"), (below, "the best for each number of scales")):
        _legend_above(axes, title)
    save(drawing, path)


def _kind_of(option: CandidateGroup) -> str:
    """Return the number of training scales of an option, or _ANY for a range."""
    train_set = option.candidate.train_set
    return _ANY if train_set.is_range else str(len(option.candidate.scales))


def _draw_options(axes: Axes, results: dict[Strategy, SearchResult], kinds: Sequence[str]) -> None:
    """Draw one marker for each option: a colour for each number of views, hollow for the exhaustive search."""
    budgets = sorted({option.candidate.budget for found in results.values() for option in found.options})
    for shift, (strategy, found) in zip((0.14, -0.14), results.items(), strict=False):
        for colour, budget in zip(cycle(COLOURS), budgets, strict=False):
            mine = [option for option in found.options if option.candidate.budget == budget]
            if mine:
                axes.plot(
                    [kinds.index(_kind_of(option)) + shift for option in mine],
                    [100 * option.worst for option in mine],
                    "o",
                    markersize=4,
                    color=colour,
                    markerfacecolor=colour if strategy == "search" else "none",
                    alpha=0.75,
                    linewidth=0,
                    label=f"{_STRATEGIES[strategy]}, {budget:,} views",
                )
    axes.set_xticks(range(len(kinds)), kinds, **STYLE)
    axes.set_xlim(-0.5, len(kinds) - 0.5)
    axes.set_xlabel("training scales", **STYLE)


def _draw_curve(axes: Axes, option: CandidateGroup, style: LineStyle) -> None:
    scales, errors, one = np.array(option.test_scales), 100 * np.array(option.errors), option.candidate
    legend = f"{label(str(one.train_set))}; {one.budget:,} views, {one.films:,} films"
    axes.plot(scales, errors, color=style.colour, linestyle=style.line, linewidth=1.5, label=legend)
    if one.train_set.is_range:
        inside = (one.scales[0] <= scales) & (scales <= one.scales[-1])
        draw_trained(axes, scales[inside], errors[inside], style)
    else:
        for at in np.flatnonzero(np.isin(scales, one.scales)):
            draw_trained(axes, scales[[at]], errors[[at]], style)


def _legend_above(axes: Axes, title: str) -> None:
    """Draw the legend above the axes, where it hides nothing."""
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "alignment": "left"}
    axes.legend(**place, frameon=False, fontsize=8, labelcolor=INK, title=title, title_fontsize=9)


def _table(options: dict[Strategy, list[CandidateGroup]], filtered: bool = False) -> Table:
    """Return a table with a row for each option. filtered: a page can filter by the number of scales."""
    lines = tuple(_line(strategy, option) for strategy, some in options.items() for option in some)
    return Table(_HEADS, lines, filter=0 if filtered else None)


def _line(strategy: Strategy, option: CandidateGroup) -> tuple[Cell, ...]:
    one = option.candidate
    spread = f" ({100 * option.least:.1f} to {100 * option.most:.1f})" if option.seeds > 1 else ""
    return (
        Cell(_kind_of(option)),
        Cell(label(str(one.train_set))),
        Cell(_STRATEGIES[strategy]),
        Cell(f"{one.budget:,}", one.budget),
        Cell(f"{one.films:,}", one.films),
        Cell(f"{100 * option.worst:.1f}{spread}", option.worst),
        Cell(f"{option.worst_scale:g} µm", option.worst_scale),
        Cell(str(option.seeds), option.seeds),
        Cell(f"{one.learning_rate:.2g}", one.learning_rate),
        Cell(one.schedule),
        Cell(f"{one.width:g} ×", one.width),
    )


def _costs(results: dict[Strategy, SearchResult]) -> Table:
    """Return the cost of each strategy, by the number of views of a trial."""
    trials: dict[tuple[Strategy, int], list[Row]] = {}
    for strategy, found in results.items():
        for row in found.trials:
            if row["step"] in ("explore", "range"):
                trials.setdefault((strategy, row["budget"]), []).append(row)
    heads = ("strategy", "views of a trial", "trials", "stopped early", "views in total", "time of trials, s")
    return Table(heads, tuple(_cost(strategy, budget, rows) for (strategy, budget), rows in sorted(trials.items())))


def _cost(strategy: Strategy, budget: int, rows: Sequence[Row]) -> tuple[Cell, ...]:
    stopped = sum(row["status"] == "stopped" for row in rows)
    views, seconds = sum(row["views"] for row in rows), sum(row["seconds"] for row in rows)
    counts = (budget, len(rows), stopped, views, round(seconds))
    return (Cell(_STRATEGIES[strategy]), *(Cell(f"{count:,}", count) for count in counts))
