"""Test the pages of a search and of a comparison of protocols in a browser as wide as a phone."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from magray.config import SearchConfig
from magray.errors import UserError
from magray.report.protocols import write_protocols
from magray.report.search import write_search
from magray.report.terminal import protocol_tables
from magray.search.trials import SEARCH
from tests.support.browser import in_browser
from tests.support.studies import protocols_of, trial

SETTINGS = SearchConfig(
    project=Path("project.yaml"), tolerance=0.05, views=[900], trials=4, learning_rates=(1e-3, 1e-2), seeds=1
)
PHONE = 360
LAYOUT = """
const rows = (name) => {
  const table = [...document.querySelectorAll('[role=region]')].find((one) => one.ariaLabel.startsWith(name));
  return [...table.querySelectorAll('tbody tr')].filter((row) => row.getClientRects().length)
    .map((row) => [...row.cells].map((cell) => cell.innerText));
};
const pictures = [...document.images];
const layout = {page: document.documentElement.scrollWidth, text: document.body.innerText,
                pictures: pictures.filter((one) => one.naturalWidth > 0).length === pictures.length};
"""


def searched(folder: Path, rows: list[dict[str, Any]]) -> str:
    """Return the page of a search with these trials."""
    pq.write_table(pa.Table.from_pylist(rows, schema=SEARCH), folder / "search.parquet")
    return write_search(folder, SETTINGS, "co-films").read_text(encoding="utf-8")


def test_the_page_of_a_search_answers_it_and_shows_all_options(tmp_path: Path) -> None:
    """Both ways to search; what was stopped early counts as a cost, and is no option."""
    found = in_browser(
        searched(
            tmp_path,
            [
                trial([0.2, 0.03, 0.3], "1"),
                trial([0.04, 0.03, 0.02], "0.5+1", budget=1800, views=1800),
                trial([0.03, 0.02, 0.02], "0.5..1.5", step="range"),
                trial([0.5, 0.5, 0.5], "1.5", "stopped", views=100),
                trial([0.3, 0.2, 0.3], "1", how="exhaustive"),
            ],
        ),
        LAYOUT
        + """
        const select = document.querySelector("select");
        const all = rows("all options");
        select.value = "any, scale known"; select.dispatchEvent(new Event("change"));
        return {...layout, all, told: rows("all options"), costs: rows("cost"), front: rows("the smallest error")};
        """,
        tmp_path,
        PHONE,
    )
    assert found["page"] <= PHONE
    assert found["pictures"]
    assert "0.5..1.5 µm is enough for pictures of 0.5 to 1.5 µm" in found["text"]
    assert "no set stays within 5.0%: the best, 1 µm" in found["text"]
    assert [line[:3] for line in found["told"]] == [["any, scale known", "0.5 to 1.5 µm, scale known", "Ray Tune"]]
    assert len(found["all"]) == 4
    assert ["Ray Tune", "900", "3", "1", "1,900", "3"] in found["costs"]
    assert [line[1] for line in found["front"]] == ["1 µm", "0.5 to 1.5 µm, scale known", "1 µm"]


def test_a_search_without_trials_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="magray search writes it"):
        write_search(tmp_path, SETTINGS, "co-films")
    with pytest.raises(UserError, match="holds no finished trial"):
        searched(tmp_path, [trial([0.5], status="stopped")])
    assert not (tmp_path / "search.html").exists()


def test_the_page_of_protocols_shows_each_estimator_on_the_films_of_all(tmp_path: Path) -> None:
    study = protocols_of(["quenched", "minimised"], "0.5+1.0", [0.5, 0.75, 1.0])
    page = write_protocols(tmp_path, study).read_text(encoding="utf-8")
    script = LAYOUT + "return {...layout, means: rows('mean errors'), scores: rows('all scores')};"
    found = in_browser(page, script, tmp_path, PHONE)
    assert found["page"] <= PHONE
    assert found["pictures"]
    assert [line[0] for line in found["means"]] == ["quenched", "minimised"]
    errors = [[float(text.split(" ± ")[0]) for text in line[1:]] for line in found["means"]]
    assert errors[0][1] == pytest.approx(5 * errors[0][0], rel=0.01)
    own = (pc.field("train_project") == "quenched") & (pc.field("test_project") == "quenched")
    trained = study.filter(own & pc.field("test_scale").isin([0.5, 1.0]))
    assert errors[0][0] == pytest.approx(pc.mean(trained["mae"]).as_py() / 1e3, rel=0.01), "0.75 µm is left out"
    assert len(found["scores"]) == 2 * 2 * 3
    assert [row for (table,) in [protocol_tables(study)] for row in table.columns[0].cells] == ["quenched", "minimised"]
