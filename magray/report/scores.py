"""Read curves, scores and trained scales from a study, for figures and tables.

A study here is the rows of STUDY that are about one parameter.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from magray.config import ScaleSet
from magray.evaluation.study import TWO_NUMBERS

MAX_SCALES = 8  # at which estimates are drawn one by one

Row = dict[str, Any]


def train_sets(study: pa.Table) -> list[str]:
    """Return the training sets in the order of the config; the baseline comes last."""
    return list(dict.fromkeys(study["train_set"].to_pylist()))


def parameter_of(table: pa.Table) -> str:
    """Return the one parameter of a table."""
    (parameter,) = table["parameter"].unique().to_pylist()
    return str(parameter)


def of_parameter(table: pa.Table, parameter: str) -> pa.Table:
    """Return the rows about one parameter."""
    return table.filter(pc.equal(table["parameter"], parameter))


def seeds_of(study: pa.Table) -> dict[tuple[str, float], list[Row]]:
    """Return {(training set, test scale): rows}, one row a seed in the order of the seeds."""
    found: dict[tuple[str, float], list[Row]] = {}
    for row in study.to_pylist():
        found.setdefault((row["train_set"], row["test_scale"]), []).append(row)
    return {key: sorted(rows, key=lambda row: int(row["seed"])) for key, rows in found.items()}


def error_curves(study: pa.Table, train_set: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the test scales, µm, ascending, and the MAE of a training set there, SI, as (seeds, scales)."""
    rows = study.filter(pc.equal(study["train_set"], train_set)).sort_by(
        [("seed", "ascending"), ("test_scale", "ascending")]
    )
    scales = np.unique(rows["test_scale"].to_numpy())
    return scales, rows["mae"].to_numpy().reshape(-1, len(scales))


def trained_spans(study: pa.Table, train_set: str) -> list[tuple[float, float]]:
    """Return the trained test scales, µm, as spans (low, high): one for a range, a span of no width for each scale."""
    rows = study.filter((pc.field("train_set") == train_set) & pc.field("trained"))
    trained = sorted(set(rows["test_scale"].to_pylist()))
    if trained and train_set != TWO_NUMBERS and ScaleSet.parse(train_set).is_range:
        return [(trained[0], trained[-1])]
    return [(scale, scale) for scale in trained]


def scales_to_show(study: pa.Table, predicted: Sequence[float]) -> list[float]:
    """Return at most MAX_SCALES of the `predicted` test scales, µm, at which estimates are drawn.

    If there are more, the trained scales, the smallest and the largest are chosen, then scales in the middle of the
    widest gaps.
    """
    scales = sorted(predicted)
    if len(scales) <= MAX_SCALES:
        return scales
    ends = {end for name in train_sets(study) for span in trained_spans(study, name) for end in span}
    chosen = sorted((ends & set(scales)) | {scales[0], scales[-1]})
    if len(chosen) > MAX_SCALES:
        return [chosen[round(place)] for place in np.linspace(0, len(chosen) - 1, MAX_SCALES)]
    while len(chosen) < MAX_SCALES and (middle := _middle_of_widest_gap(chosen, scales)) is not None:
        chosen = sorted([*chosen, middle])
    return chosen


def _middle_of_widest_gap(chosen: Sequence[float], scales: Sequence[float]) -> float | None:
    """Return the scale nearest to the middle of the widest gap between chosen scales; None if all gaps are empty."""
    gaps = sorted(itertools.pairwise(chosen), key=lambda gap: round(gap[0] - gap[1], 9))
    for low, high in gaps:
        inside = [scale for scale in scales if low < scale < high]
        if inside:
            return min(inside, key=lambda scale: round(abs(scale - (low + high) / 2), 9))
    return None
