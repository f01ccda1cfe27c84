"""Make the tables of a study, for HTML pages and Markdown alike.

Each table is about one parameter, in its practical unit. Numbers are means over the seeds ± their standard deviation.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from magray.config import FigureConfig
from magray.evaluation.metrics import Values
from magray.evaluation.study import TWO_NUMBERS
from magray.evaluation.tolerance import tolerance_band
from magray.report.labels import ERRORS, Quantity, label, quantity
from magray.report.scores import Row, error_curves, parameter_of, seeds_of, train_sets

_CHANGES = ("neither", "domains", "walls", "both")
NOTHING = "–"


@dataclass(frozen=True)
class Cell:
    """One cell of a table. value: the number to sort by, NaN last; None sorts by the text."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """Column headings, and rows of as many cells. filter: the column, if any, by whose values a page can filter."""

    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    filter: int | None = None


def score_table(study: pa.Table) -> Table:
    """Return R², MAE and biases of every training set at every test scale."""
    shown = quantity(parameter_of(study))
    rows = (
        (
            Cell(label(train_set)),
            _scale(scale),
            Cell("trained" if seeds[0]["trained"] else "untrained"),
            *_scores(seeds, shown),
        )
        for (train_set, scale), seeds in seeds_of(study).items()
    )
    return Table(("trained at", "tested at", "in training", *_heads(shown)), tuple(rows), filter=0)


def figure_table(figure: FigureConfig, study: pa.Table) -> Table:
    """Return the scores of each panel of a figure at each of its scales, beside the finding of the paper."""
    shown, of_seeds = quantity(parameter_of(study)), seeds_of(study)
    rows = (
        (
            Cell(f"{figure.figure}{panel.name}"),
            Cell(label(panel.train)),
            _scale(scale),
            Cell(panel.paper),
            *_scores(of_seeds[panel.train, scale], shown),
        )
        for panel in figure.panels
        for scale in panel.test
    )
    return Table(("panel", "trained at", "tested at", "the paper", *_heads(shown)), tuple(rows))


def tolerance_table(study: pa.Table) -> Table:
    """Return the tolerance band of each training set, from the mean of its seeds.

    The width, µm, is followed by those of the narrowest and the widest seed.
    """
    shown = quantity(parameter_of(study))
    rows = tuple(_tolerance(study, name, shown) for name in train_sets(study))
    return Table(("trained at", _with_unit("minimum MAE", shown), "at", "from", "to", "width, µm"), rows)


def tolerance_widths_table(studies: Mapping[str, pa.Table]) -> Table:
    """Return the width of the tolerance band, µm, of each training set in each study, mean ± deviation of the seeds.

    ≥ marks bands that go on beyond the test scales, and < those that no other test scale is in. studies: {column
    heading: rows of STUDY of one parameter}.
    """
    sets = list(dict.fromkeys(name for study in studies.values() for name in train_sets(study)))
    sets.sort(key=lambda name: name == TWO_NUMBERS)  # the baseline comes last
    rows = (
        (
            Cell(label(name)),
            *(
                _width(study, name) if name in train_sets(study) else Cell(NOTHING, np.nan)
                for study in studies.values()
            ),
        )
        for name in sets
    )
    return Table(("trained at", *studies), tuple(rows))


def wall_ablation_table(causes: pa.Table) -> Table:
    """Return the MAE at other scales, for films of which only the domains or only the walls are rescaled."""
    shown = quantity(parameter_of(causes))
    found: dict[tuple[str, float], dict[str, list[float]]] = {}  # a value for each seed
    for row in causes.to_pylist():
        errors = found.setdefault((row["train_set"], row["test_scale"]), {})
        errors.setdefault(row["changed"], []).append(row["mae"])
    rows = (
        (Cell(label(train_set)), _scale(scale), *(_error(errors[name], shown) for name in _CHANGES))
        for (train_set, scale), errors in found.items()
    )
    return Table(("trained at", "tested at", *(_with_unit(name, shown) for name in _CHANGES)), tuple(rows))


def mean_errors_table(study: pa.Table) -> Table:
    """Return the mean MAE of each project's estimators on each project's films, at trained scales.

    Untrained scales are left out, because there estimators fail on their own films too. study: PROTOCOLS of one
    parameter.
    """
    shown = quantity(parameter_of(study))
    errors: dict[tuple[str, str], dict[int, list[float]]] = {}  # by pair and seed, one for each scale
    for row in study.filter(study["trained"]).to_pylist():
        of_seeds = errors.setdefault((row["train_project"], row["test_project"]), {})
        of_seeds.setdefault(row["seed"], []).append(row["mae"])
    means = {pair: [float(np.mean(one)) for one in of_seeds.values()] for pair, of_seeds in errors.items()}
    names = list(dict.fromkeys(tested for _, tested in means))
    rows = ((Cell(trained), *(_error(means[trained, tested], shown) for tested in names)) for trained in names)
    return Table(("trained on", *(_with_unit(f"on {name}", shown) for name in names)), tuple(rows))


def protocols_table(study: pa.Table) -> Table:
    """Return the scores of each project's estimators on each project's films. study: PROTOCOLS of one parameter."""
    shown = quantity(parameter_of(study))
    found: dict[tuple[str, str, float], list[Row]] = {}
    for row in study.to_pylist():
        found.setdefault((row["train_project"], row["test_project"], row["test_scale"]), []).append(row)
    rows = (
        (Cell(trained), Cell(tested), _scale(scale), *_scores(seeds, shown))
        for (trained, tested, scale), seeds in found.items()
    )
    return Table(("trained on", "tested on", "tested at", *_heads(shown)), tuple(rows), filter=1)


def markdown(table: Table) -> Iterator[str]:
    """Return the lines of a table in Markdown."""
    yield _line(table.heads)
    yield _line("---" for _ in table.heads)
    for row in table.rows:
        yield _line(cell.text.replace("|", r"\|") for cell in row)


def number(value: float, digits: int) -> str:
    """Return a number with `digits` significant digits and without an exponent."""
    return np.format_float_positional(float(f"{value:.{digits}g}"), trim="-")


def _line(texts: Iterable[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _heads(shown: Quantity) -> tuple[str, ...]:
    """Return the headings of the columns that `_scores` fills."""
    return ("R²", *(_with_unit(name, shown) for name in ERRORS.values()), "pictures")


def _with_unit(name: str, shown: Quantity) -> str:
    return f"{name}, {shown.unit}".removesuffix(", ")


def _scale(scale: float) -> Cell:
    return Cell(f"{scale:g} µm", scale)


def _scores(seeds: Sequence[Row], shown: Quantity) -> tuple[Cell, ...]:
    r2 = [row["r2"] for row in seeds]
    errors = [_error([row[name] for row in seeds], shown, "" if name == "mae" else "+") for name in ERRORS]
    return (
        _over_seeds(r2, f"{np.mean(r2):.3f}", f"{np.std(r2):.3f}"),
        *errors,
        Cell(f"{seeds[0]['n']:,}", seeds[0]["n"]),
    )


def _error(values: Sequence[float], shown: Quantity, plus: str = "") -> Cell:
    """Return the cell of the errors of some seeds, SI. plus: the sign of positive values."""
    mean, spread = float(np.mean(values)) * shown.factor, float(np.std(values)) * shown.factor
    digits = 2 if plus else 3
    return _over_seeds(values, f"{plus if mean > 0 else ''}{number(mean, digits)}", number(spread, 2))


def _over_seeds(values: Sequence[float], mean: str, spread: str) -> Cell:
    """Return the cell "mean ± spread", or "mean" for one seed."""
    value = float(np.mean(values))
    if np.isnan(value):
        return Cell(NOTHING, value)
    text = f"{mean} ± {spread}" if len(values) > 1 else mean
    return Cell(text.replace("-", "−"), value)


def _width(study: pa.Table, train_set: str) -> Cell:
    """Return the width of a band, or what it is less than, if no seed has another test scale in it."""
    scales, errors = error_curves(study, train_set)
    bands = [tolerance_band(scales.tolist(), of_seed.tolist()) for of_seed in errors]
    widths = [band.width for band in bands]
    if all(np.sum((band.low <= scales) & (scales <= band.high)) == 1 for band in bands):
        gaps = [_gap(scales, band.best) for band in bands]
        return Cell(f"< {max(gaps):.2f}", float(np.mean(widths)))
    at_least = "≥ " if any(band.open_low or band.open_high for band in bands) else ""
    return _over_seeds(widths, f"{at_least}{np.mean(widths):.2f}", f"{np.std(widths):.2f}")


def _gap(scales: Values, scale: float) -> float:
    """Return how far apart the test scales before and after one of them are, µm; it counts itself at an end."""
    at = int(np.searchsorted(scales, scale))
    return float(scales[min(at + 1, len(scales) - 1)] - scales[max(at - 1, 0)])


def _tolerance(study: pa.Table, train_set: str, shown: Quantity) -> tuple[Cell, ...]:
    scales, errors = error_curves(study, train_set)
    found = tolerance_band(scales.tolist(), errors.mean(axis=0).tolist())
    widths = [tolerance_band(scales.tolist(), one.tolist()).width for one in errors]
    of_seeds = f" ({min(widths):.2f} to {max(widths):.2f})" if len(widths) > 1 else ""
    return (
        Cell(label(train_set)),
        _error(errors[:, scales.tolist().index(found.best)].tolist(), shown),
        _scale(found.best),
        Cell(f"{'≤ ' if found.open_low else ''}{found.low:.2f} µm", found.low),
        Cell(f"{'≥ ' if found.open_high else ''}{found.high:.2f} µm", found.high),
        Cell(f"{found.width:.2f}{of_seeds}", found.width),
    )
