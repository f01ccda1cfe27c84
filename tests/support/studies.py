"""Make studies and searches with the format of real ones, without training.

Errors of studies grow away from trained scales.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from magray.config import ScaleSet
from magray.evaluation.study import PREDICTIONS, STUDY, TWO_NUMBERS
from magray.search.trials import Candidate
from magray.workflows.protocol_transfer import PROTOCOLS

SCALES = tuple(float(round(0.4 + 0.05 * place, 2)) for place in range(33))  # of the paper's studies, µm
RANGES = {"D": (0.1e-3, 1.0e-3, "J/m2"), "Ms": (200e3, 700e3, "A/m")}  # SI


def study_of(
    parameter: str, sets: Sequence[str], scales: Sequence[float] = SCALES, seeds: int = 3, first_seed: int = 1
) -> pa.Table:
    """Return STUDY of training sets and of the baseline."""
    low, high, unit = RANGES[parameter]
    listed = sorted({scale for name in sets for scale in ScaleSet.parse(name).scales_um})
    rows = []
    for name in (*sets, TWO_NUMBERS):
        for seed in range(first_seed, first_seed + seeds) if name != TWO_NUMBERS else (0,):
            for scale in scales:
                away = _away(name, scale, listed)
                error = (0.02 + 0.3 * away) * (1 + 0.05 * seed) * (high - low)
                row = {"train_set": name, "seed": seed, "test_scale": scale, "trained": away == 0}
                row |= {"parameter": parameter, "unit": unit, "r2": 0.99 - 20 * away, "mae": error, "bias": error / 2}
                rows.append(row | {"bias_low": error, "bias_high": -error, "n": round(40 / scale**2)})
    return pa.Table.from_pylist(rows, schema=STUDY)


def predictions_of(study: pa.Table, films: Sequence[str], scales: Sequence[float]) -> pa.Table:
    """Return PREDICTIONS of a study at some of its scales, with errors of the size in the study."""
    random = np.random.default_rng(1)
    parts = []
    for row in study.to_pylist():
        if row["test_scale"] in scales:
            low, high, _ = RANGES[row["parameter"]]
            true = np.linspace(low, high, len(films))
            estimated = true + row["bias"] + random.normal(0, row["mae"], len(films))
            same = {name: pa.repeat(row[name], len(films)) for name in ("train_set", "seed", "test_scale", "parameter")}
            own = {"film_id": list(films), "view": np.zeros(len(films)), "set_value": true, "estimated": estimated}
            parts.append(pa.table({name: (same | own)[name] for name in PREDICTIONS.names}).cast(PREDICTIONS))
    return pa.concat_tables(parts)


def trial(errors: list[float], train_set: str = "0.5+1", status: str = "finished", **changes: Any) -> dict[str, Any]:
    """Return a row of SEARCH: a trial with these errors at 0.5, 1.0, 1.5 µm and so on."""
    candidate = {
        "train_set": train_set,
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "budget": 900,
        "films": 80,
        "width": 1.0,
        "seed": 0,
    }
    scales = [0.5 + 0.5 * i for i in range(len(errors))]
    result = {"how": "search", "step": "explore", "status": status, "views": 900, "seconds": 1.0}
    about = {"worst": max(errors), "worst_scale": scales[errors.index(max(errors))], "curve": [0.3, max(errors)]}
    one: dict[str, Any] = candidate | result | about | {"test_scales": scales, "errors": errors} | changes
    return one | {"trial": Candidate.of(one).key(one["how"])}


def protocols_of(projects: Sequence[str], train_set: str, scales: Sequence[float]) -> pa.Table:
    """Return PROTOCOLS of Ms, with five times the error on films of other projects."""
    parts = []
    for tested in projects:
        for trained in projects:
            study = study_of("Ms", [train_set], scales, seeds=2)
            own = study.filter(pc.not_equal(study["train_set"], TWO_NUMBERS))
            errors = pc.multiply(own["mae"], 1.0 if trained == tested else 5.0)
            columns = {name: own[name] for name in STUDY.names} | {"mae": errors}
            columns |= {"train_project": pa.repeat(trained, len(own)), "test_project": pa.repeat(tested, len(own))}
            parts.append(pa.table({name: columns[name] for name in PROTOCOLS.names}).cast(PROTOCOLS))
    return pa.concat_tables(parts)


def _away(train_set: str, scale: float, listed: Sequence[float]) -> float:
    """Return the distance of a scale from the nearest trained one, µm."""
    if train_set == TWO_NUMBERS:
        return 0.0 if scale in listed else 0.1
    trained_set = ScaleSet.parse(train_set)
    trained = trained_set.scales_um
    if trained_set.is_range:
        return max(0.0, trained[0] - scale, scale - trained[-1])
    return min(abs(scale - one) for one in trained)
