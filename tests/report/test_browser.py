"""Test the page of the paper in a real browser, as wide as a phone and a desktop."""

import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from magray.config import load_config, load_figure
from magray.evaluation.wall_ablation import WALL_ABLATION
from magray.report.paper import PaperFigure, write_paper
from tests.support.browser import in_browser
from tests.support.studies import predictions_of, study_of

CONFIGS = Path(__file__).parents[2] / "configs"
FIGURES = sorted((CONFIGS / "studies").glob("fig*.yaml"))
FILMS = [f"{number:06d}" for number in range(1000)]
SCORES = "const table = [...document.querySelectorAll('table')].find((one) => one.dataset.filter);"
COLUMN = "const column = (at) => [...table.tBodies[0].rows].map((row) => row.cells[at].textContent.trim());"


def causes_of(parameter: str, unit: str, size: float) -> pa.Table:
    """Return WALL_ABLATION of three estimators of one scale each, at the other two scales."""
    rows = [
        {
            "train_set": f"{trained}",
            "seed": 1,
            "test_scale": scale,
            "changed": changed,
            "parameter": parameter,
            "unit": unit,
        }
        | {"r2": 0.5, "mae": size * (1 + place), "bias": 0.0}
        for trained in (0.5, 1.0, 1.5)
        for scale in (0.5, 1.0, 1.5)
        if scale != trained
        for place, changed in enumerate(("neither", "domains", "walls", "both"))
    ]
    return pa.Table.from_pylist(rows, schema=WALL_ABLATION)


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """Return a page of the whole paper (33 test scales, 3 seeds), and the seconds that drawing it took."""
    folder = tmp_path_factory.mktemp("paper")
    fits = {name: load_config(CONFIGS / "paper" / f"{name}.yaml").fit for name in ("dmi", "ms")}
    studies: dict[str, pa.Table] = {
        fit.targets[0]: study_of(fit.targets[0], [*map(str, fit.train_scales)]) for fit in fits.values()
    }
    figures = []
    for path in FIGURES:
        config = load_figure(path)
        study = studies[fits[config.project.stem].targets[0]]
        estimates = []
        for panel in config.panels:
            wanted = study.filter(pc.equal(study["train_set"], panel.train))
            first = wanted.filter(pc.equal(wanted["seed"], 1))
            points = predictions_of(first, FILMS, panel.test)
            estimates.append(points.append_column("panel", pa.repeat(panel.name, points.num_rows)))
        figures.append(PaperFigure(config, pa.concat_tables(estimates), study))
    causes = pa.concat_tables([causes_of("D", "J/m2", 0.05e-3), causes_of("Ms", "A/m", 2e4)])
    start = time.monotonic()
    microscope = {"D": studies["D"].filter(pc.equal(studies["D"]["train_set"], "0.4..2.0"))}
    page = write_paper(figures, studies, causes, microscope, folder)
    return page, time.monotonic() - start


def test_the_page_of_the_whole_paper_is_small_and_quickly_drawn(paper: tuple[Path, float]) -> None:
    """Small enough for a mail and a phone; on a busy machine, drawn within a minute."""
    page, seconds = paper
    print(f"{page.stat().st_size / 1e6:.2f} MB drawn in {seconds:.1f} s")
    assert page.stat().st_size < 3e6
    assert seconds < 60


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_sticks_out_on_a_phone_or_on_a_desk(paper: tuple[Path, float], tmp_path: Path, width: int) -> None:
    """Wide tables and figures scroll inside their boxes, whose keyboard focus lets arrow keys do it."""
    script = """
    const boxes = [...document.querySelectorAll(".scroll")];
    return {page: document.documentElement.scrollWidth, width: window.innerWidth,
            scrolling: boxes.filter((box) => box.scrollWidth > box.clientWidth).length,
            tables: document.querySelectorAll("table").length,
            loose: [...document.querySelectorAll("table")].filter((one) => one.parentElement.tabIndex !== 0).length};
    """
    found = in_browser(paper[0].read_text(encoding="utf-8"), script, tmp_path, width)
    assert found["width"] == width
    assert found["page"] <= width
    assert found["tables"] == len(FIGURES) + 2 * 3  # and tolerance, scores and causes of two parameters
    assert found["loose"] == 0
    assert width > 360 or found["scrolling"] > 0


def test_the_page_asks_the_network_for_nothing_and_could_not(paper: tuple[Path, float], tmp_path: Path) -> None:
    """Its own policy forbids the browser to fetch anything; a page that tries is caught."""
    script = """
    return {fetched: window.performance.getEntriesByType("resource").length, refused: window.refused || 0,
            pictures: [...document.images].filter((image) => image.complete && image.naturalWidth > 0).length,
            all: document.images.length};
    """
    page = paper[0].read_text(encoding="utf-8")
    listener = (
        "<script>window.refused = 0; addEventListener('securitypolicyviolation', () => window.refused++)</script>"
    )
    page = page.replace("<main>", f"{listener}<main>")
    found = in_browser(page, script, tmp_path)
    assert (found["fetched"], found["refused"]) == (0, 0)
    assert found["pictures"] == found["all"] == len(FIGURES) + 2 * 2
    asking = page.replace("</main>", '<img src="http://127.0.0.1:9/picture.png"></main>')
    assert in_browser(asking, script, tmp_path)["refused"] == 1


def test_a_click_on_a_head_sorts_numbers_as_numbers_and_another_turns_them_round(
    paper: tuple[Path, float], tmp_path: Path
) -> None:
    """As text, 45.4 would come before 9.1, and a minus sign, which is no hyphen, after all digits."""
    script = (
        SCORES
        + COLUMN
        + """
    const heads = [...table.tHead.rows[0].cells], sort = (at) => heads[at].querySelector("button").click();
    const orders = () => heads.map((head) => head.getAttribute("aria-sort"));
    const found = {before: column(4)};
    sort(4); found.up = column(4); found.marked = orders();
    sort(4); found.down = column(4); found.turned = orders();
    sort(3); found.r2 = column(3);
    sort(0); found.names = column(0); found.named = orders();
    return found;
    """
    )
    found = in_browser(paper[0].read_text(encoding="utf-8"), script, tmp_path)
    up, r2 = numbers(found["up"]), numbers(found["r2"])
    assert up == sorted(numbers(found["before"])) != numbers(found["before"])
    assert numbers(found["down"]) == up[::-1]
    assert r2 == sorted(r2)
    assert r2[0] < 0 < r2[-1]
    assert found["marked"][4] == "ascending"
    assert found["turned"][4] == "descending"
    assert [order for order in found["named"] if order] == ["ascending"]
    assert found["names"] == sorted(found["names"])


def test_what_has_no_number_comes_last_in_both_orders(paper: tuple[Path, float], tmp_path: Path) -> None:
    """A bias without any view at its end is no bias of zero."""
    script = (
        SCORES
        + COLUMN
        + """
    const cell = table.tBodies[0].rows[3].cells[5];
    cell.dataset.value = "nan"; cell.textContent = "–";
    const button = table.tHead.rows[0].cells[5].querySelector("button");
    return [0, 1].map(() => { button.click(); return column(5).at(-1); });
    """
    )
    assert in_browser(paper[0].read_text(encoding="utf-8"), script, tmp_path) == ["–", "–"]


def test_heads_can_be_reached_and_pressed_without_a_mouse(paper: tuple[Path, float], tmp_path: Path) -> None:
    script = """
    const buttons = [...document.querySelectorAll("th button")];
    buttons[0].focus();
    return {heads: document.querySelectorAll("th").length, buttons: buttons.length,
            reached: document.activeElement === buttons[0] && buttons.every((one) => one.tabIndex === 0)};
    """
    found = in_browser(paper[0].read_text(encoding="utf-8"), script, tmp_path)
    assert found["heads"] == found["buttons"] > 0
    assert found["reached"]


def test_the_filter_leaves_one_training_set_and_gives_all_back(paper: tuple[Path, float], tmp_path: Path) -> None:
    script = (
        SCORES
        + """
    const select = document.querySelector("select");
    const shown = (value) => {
      select.value = value; select.dispatchEvent(new Event("change"));
      const rows = [...table.tBodies[0].rows].filter((row) => row.getClientRects().length);
      return rows.map((row) => row.cells[0].innerText);
    };
    return {offered: [...select.options].map((one) => one.text), one: shown("1.5 µm"), all: shown("").length};
    """
    )
    found = in_browser(paper[0].read_text(encoding="utf-8"), script, tmp_path)
    assert found["offered"][0] == "all"
    assert {"1.5 µm", "0.5, 1.0, 1.5, 2.0 µm", "0.4 to 2.0 µm, scale known", "two numbers, no network"} < {
        *found["offered"]
    }
    assert found["one"] == ["1.5 µm"] * 33
    assert found["all"] == (len(found["offered"]) - 1) * 33


def test_without_its_script_the_page_shows_the_same_rows(paper: tuple[Path, float], tmp_path: Path) -> None:
    """No button and no list is there that would do nothing."""
    page = paper[0].read_text(encoding="utf-8")
    plain = page[: page.index("<script>")] + page[page.index("</script>") + len("</script>") :]
    script = """
    const rows = [...document.querySelectorAll("tbody tr")].filter((row) => row.getClientRects().length).length;
    return {rows, controls: document.querySelectorAll("button, select").length};
    """
    with_script, without = (in_browser(text, script, tmp_path) for text in (page, plain))
    assert without == {"rows": with_script["rows"], "controls": 0}
    assert with_script["controls"] > 0


def numbers(texts: list[str]) -> list[float]:
    """Return the means of texts such as "mean ± std"."""
    return [float(text.split(" ± ")[0].replace("−", "-")) for text in texts]
