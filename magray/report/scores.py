"""Parts of a study for figures and tables: labels of training sets, error curves, and the scales shown.

A study here is the rows of STUDY that are about one parameter.
"""

import itertools
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from magray.config import RANGE, is_range
from magray.evaluation.study import TWO_NUMBERS

MOST_SCALES = 8  # that estimates are drawn at, one by one

Row = dict[str, Any]


def label(train_set: str) -> str:
    """A training set for people: "0.5+1.0" is "0.5, 1.0 µm", "0.5..2.0" is "0.5 to 2.0 µm, scale known"."""
    if train_set == TWO_NUMBERS:
        return "two numbers, no network"
    if is_range(train_set):
        return f"{train_set.replace(RANGE, ' to ')} µm, scale known"
    return f"{train_set.replace('+', ', ')} µm"


def in_file_name(train_set: str) -> str:
    """A training set as part of a file's name, whatever characters it has; no two sets have the same."""
    return quote(train_set, safe="+")


def train_sets(study: pa.Table) -> list[str]:
    """The training sets, in the order of the config; the baseline comes last."""
    return list(dict.fromkeys(study["train_set"].to_pylist()))


def parameter_of(table: pa.Table) -> str:
    """The parameter that all rows are about."""
    (parameter,) = table["parameter"].unique().to_pylist()
    return str(parameter)


def of_parameter(table: pa.Table, parameter: str) -> pa.Table:
    """The rows about one parameter."""
    return table.filter(pc.equal(table["parameter"], parameter))


def seeds_of(study: pa.Table) -> dict[tuple[str, float], list[Row]]:
    """(training set, test scale) -> its rows, one a seed, the first seed first."""
    found: dict[tuple[str, float], list[Row]] = {}
    for row in study.to_pylist():
        found.setdefault((row["train_set"], row["test_scale"]), []).append(row)
    return {key: sorted(rows, key=lambda row: int(row["seed"])) for key, rows in found.items()}


def error_curves(study: pa.Table, train_set: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Test scales, µm, ascending, and the MAE of a training set at each of them, SI: (seeds, scales)."""
    rows = study.filter(pc.equal(study["train_set"], train_set)).sort_by(
        [("seed", "ascending"), ("test_scale", "ascending")]
    )
    scales = np.unique(rows["test_scale"].to_numpy())
    return scales, rows["mae"].to_numpy().reshape(-1, len(scales))


def trained_spans(study: pa.Table, train_set: str) -> list[tuple[float, float]]:
    """Return the trained scales as spans of test scales, µm: one for a range, one of no width for each listed scale."""
    rows = study.filter((pc.field("train_set") == train_set) & pc.field("trained"))
    trained = sorted(set(rows["test_scale"].to_pylist()))
    if trained and is_range(train_set):
        return [(trained[0], trained[-1])]
    return [(scale, scale) for scale in trained]


def scales_to_show(study: pa.Table, predicted: Sequence[float]) -> list[float]:
    """The test scales, µm, at which estimates are drawn, of those that have been `predicted`: at most MOST_SCALES.

    All, if they are so few; otherwise those that any set was trained at, the smallest and the largest, and between
    them the middles of the widest gaps.
    """
    scales = sorted(predicted)
    if len(scales) <= MOST_SCALES:
        return scales
    ends = {end for name in train_sets(study) for span in trained_spans(study, name) for end in span}
    chosen = sorted((ends & set(scales)) | {scales[0], scales[-1]})
    if len(chosen) > MOST_SCALES:
        return [chosen[round(place)] for place in np.linspace(0, len(chosen) - 1, MOST_SCALES)]
    while len(chosen) < MOST_SCALES and (middle := _middle_of_widest_gap(chosen, scales)) is not None:
        chosen = sorted([*chosen, middle])
    return chosen


def _middle_of_widest_gap(chosen: Sequence[float], scales: Sequence[float]) -> float | None:
    """Return the middle of the widest gap between chosen scales; None if there is none."""
    gaps = sorted(itertools.pairwise(chosen), key=lambda gap: round(gap[0] - gap[1], 9))
    for low, high in gaps:
        inside = [scale for scale in scales if low < scale < high]
        if inside:
            return min(inside, key=lambda scale: round(abs(scale - (low + high) / 2), 9))
    return None
