"""Run the notebooks of the documentation. tests/report/test_paper_notebook.py runs paper.ipynb.

Those that start Ray take a minute each: make soak runs them (NOTEBOOKS=all).
"""

import json
import os
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pyarrow.parquet as pq
import pytest
from matplotlib import pyplot as plt

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"
starts_ray = pytest.mark.skipif("NOTEBOOKS" not in os.environ, reason="takes a minute: make soak runs it")


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(name: str) -> dict[str, Any]:
    """Return what the cells of a notebook define, run one after the other as Jupyter would."""
    notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    defined: dict[str, Any] = {"__name__": "__main__"}
    with mpl.rc_context():
        plt.switch_backend("agg")
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), f"{name}: {cell['id']}", "exec"), defined)
        plt.close("all")
    return defined


@pytest.mark.parametrize("name", ["first-estimate", "campaign", "own-study"])
def test_a_notebook_is_kept_without_outputs(name: str) -> None:
    notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook["cells"])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            compile("".join(cell["source"]), f"{name}: {cell['id']}", "exec")


def test_the_first_estimate_is_trusted_and_near_the_truth() -> None:
    names = run("first-estimate")
    assert names["posterior"].trust != "refused"
    for constant, true in names["truth"].items():
        answer = names["posterior"].parameters[constant]
        assert abs(answer.value - true) < 3 * answer.error
    assert max(names["shares"], key=names["shares"].get) == "Keff", "as the notebook says"


@starts_ray
def test_the_campaign_has_the_eight_films_of_its_plan() -> None:
    names = run("campaign")
    assert [film["status"] for film in names["films"]] == ["converged"] * 8
    assert names["plan"].num_rows == 4


@starts_ray
def test_the_study_scores_its_network_at_every_test_scale() -> None:
    study = run("own-study")["study"]
    scores = study[study["train_set"] == "0.25+0.5"]
    assert scores["test_scale"].to_list() == [0.25, 0.375, 0.5]
    assert Path("my-study/results/report/index.html").exists()
    assert pq.read_table("my-study/results/predictions.parquet").num_rows > 0
