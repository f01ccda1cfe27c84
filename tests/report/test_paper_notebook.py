"""The notebook redraws figures 2 to 5 from the tables in results/paper."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

from magray.config import load_figure

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebooks" / "paper.ipynb"


@pytest.fixture(scope="module")
def names() -> Iterator[dict[str, Any]]:
    """Yield what the notebook's cells define, run one after the other as Jupyter would."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    defined: dict[str, Any] = {"__name__": "__main__"}
    with pytest.MonkeyPatch.context() as patch, mpl.rc_context():
        patch.chdir(NOTEBOOK.parent)
        plt.switch_backend("agg")
        for cell in cells:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), cell["id"], "exec"), defined)
    yield defined
    plt.close("all")


@pytest.mark.parametrize("figure", ["2", "3", "4", "5"])
def test_a_figure_has_every_panel_with_the_estimates_of_every_scale(names: dict[str, Any], figure: str) -> None:
    config = load_figure(ROOT / "configs" / "studies" / f"fig{figure}.yaml")
    drawing = names[f"figure_{figure}"]
    titles = [axes.get_title().partition(",")[0] for axes in drawing.axes]
    assert titles == [f"{figure}{panel.name}" for panel in config.panels]
    for axes, panel in zip(drawing.axes, config.panels, strict=True):
        points = axes.lines[:-1]  # the last is the diagonal
        assert [line.get_label().partition(" ")[0] for line in points] == [f"{scale:g}" for scale in panel.test]
        assert all(len(line.get_xdata()) > 300 for line in points)


def test_scores_are_those_of_the_study(names: dict[str, Any]) -> None:
    """Docs/paper.md has −1.5 for 2b, of three seeds."""
    assert names["r2"]("D", "1.5", 2.0).startswith("-1.5")


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert not any(cell.get("outputs") for cell in notebook["cells"])
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
