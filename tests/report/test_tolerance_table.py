"""The table of tolerances says which bands go on beyond the tests, and which are too narrow for them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from magray.evaluation.study import STUDY
from magray.files.atomic import read_table
from magray.report.paper import tolerance_lines
from magray.report.scores import of_parameter
from magray.report.tables import tolerance_widths_table
from magray.workflows.paper import microscope_studies

ROOT = Path(__file__).parents[2]
SCALES = (0.5, 1.0, 1.5, 2.0)


def study(train_set: str, *seeds: tuple[float, ...]) -> pa.Table:
    """Return a study with these errors of each seed, at SCALES."""
    rows = [
        {"train_set": train_set, "seed": seed, "test_scale": scale, "trained": False, "parameter": "D", "unit": "J/m2"}
        | {"r2": 0.5, "mae": error, "bias": 0.0, "bias_low": 0.0, "bias_high": 0.0, "n": 9}
        for seed, errors in enumerate(seeds)
        for scale, error in zip(SCALES, errors, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=STUDY)


def widths(*studies: pa.Table) -> list[tuple[str, ...]]:
    table = tolerance_widths_table({str(place): one for place, one in enumerate(studies)})
    return [tuple(cell.text for cell in row) for row in table.rows]


def test_a_band_is_interpolated_for_each_seed() -> None:
    """The error doubles 0.125 µm before the best scale and 0.75 or 0.625 behind: bands of 0.875 and 0.75 µm."""
    both = study("1.0", (5.0, 1.0, 1.5, 2.5), (5.0, 1.0, 1.5, 3.5))
    assert widths(both) == [("1.0 µm", "0.81 ± 0.06")]


def test_a_band_beyond_the_last_test_scale_is_at_least_so_wide() -> None:
    assert widths(study("1.0", (9.0, 1.0, 1.0, 1.0))) == [("1.0 µm", "≥ 1.06")]


def test_a_band_between_two_test_scales_is_less_than_their_distance() -> None:
    assert widths(study("1.0", (9.0, 1.0, 9.0, 9.0))) == [("1.0 µm", "< 1.00")]
    assert widths(study("2.0", (9.0, 9.0, 9.0, 1.0))) == [("2.0 µm", "< 0.50")]


def test_a_training_set_that_one_study_lacks_is_left_empty_there() -> None:
    one, other = study("1.0", (9.0, 1.0, 9.0, 9.0)), study("2.0", (9.0, 9.0, 9.0, 1.0))
    assert widths(one, other) == [("1.0 µm", "< 1.00", "–"), ("2.0 µm", "–", "< 0.50")]


def test_the_table_in_the_docs_is_the_one_of_the_results() -> None:
    results = ROOT / "results" / "paper"
    table = read_table(results / "study.parquet", STUDY)
    studies = {name: of_parameter(table, name) for name in pc.unique(table["parameter"]).to_pylist()}
    lines = "\n".join(tolerance_lines(studies, microscope_studies(results)))
    for path in (results / "README.md", ROOT / "docs" / "paper.md"):
        assert lines in path.read_text(encoding="utf-8")
