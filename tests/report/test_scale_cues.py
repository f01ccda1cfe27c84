"""The report of a study of scale cues shows every setting, and trained scales in bold."""

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image

from magray.evaluation.study import TWO_NUMBERS
from magray.report.scale_cues import between_table, cues_table, write_scale_cues
from magray.workflows.scale_cues import SCALE_CUES

SCALES, TRAINED = (0.5, 0.75, 1.0), (0.5, 1.0)


def rows(parameter: str, setting: str, train_set: str = "0.5+1.0", seeds: int = 3) -> list[dict[str, object]]:
    errors = dict.fromkeys(("mae", "bias", "bias_low", "bias_high"), 1e-4)
    return [
        {"setting": setting, "train_set": train_set, "seed": seed, "test_scale": scale, "trained": scale in TRAINED}
        | {"parameter": parameter, "unit": "J/m2", "r2": 0.9 - 0.1 * seed - (scale == 0.75), "n": 100, **errors}
        | dict.fromkeys(("read_as", "nearby"), scale if train_set != TWO_NUMBERS else math.nan)
        for seed in range(seeds)
        for scale in SCALES
    ]


@pytest.fixture
def table() -> pa.Table:
    found = []
    for parameter in ("D", "Ms"):
        for setting in ("as-simulated", "grains"):
            found += [*rows(parameter, setting), *rows(parameter, setting, TWO_NUMBERS, seeds=1)]
    return pa.Table.from_pylist(found, schema=SCALE_CUES)


def test_both_parameters_are_in_the_figure_and_in_the_tables(table: pa.Table, tmp_path: Path) -> None:
    page = write_scale_cues(table, tmp_path / "results")
    text = page.read_text(encoding="utf-8")
    assert "## D: R²" in text
    assert "## Ms: trained scale that pictures are taken for" in text
    assert "| grains | 0.5, 1.0 µm | **0.80 ± 0.08** | −0.20 ± 0.08 | **0.80 ± 0.08** |" in text
    assert Image.open(page.parent / "scale_cues.png").size[0] > 800


def test_the_first_table_has_what_each_setting_costs_between_the_trained_scales(table: pa.Table) -> None:
    """R² is lower by 1 between the scales, and by 0.1 from seed to seed; MAE is the same everywhere."""
    found = between_table(table)
    assert found.heads[1:4] == ("D: MAE between ÷ at trained", "D: least R²", "D: recognised")
    texts = [cell.text for cell in found.rows[0]]
    assert texts == ["as simulated", *["1.00 ± 0.00", "−0.20 ± 0.08", "0.75 ± 0.00"] * 2]


def test_the_baseline_has_scores_and_no_readings(table: pa.Table) -> None:
    of_d = table.filter(pc.equal(table["parameter"], "D"))
    assert len(cues_table(of_d, "r2").rows) == 4
    assert len(cues_table(of_d, "read_as").rows) == 2
