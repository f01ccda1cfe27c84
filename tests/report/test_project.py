"""Test that the page of a project shows the content of its Parquet files, in one file."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from magray.config import Config, load_config
from magray.errors import UserError
from magray.evaluation.study import PREDICTIONS, STUDY, TWO_NUMBERS
from magray.evaluation.wall_ablation import WALL_ABLATION
from magray.films import Film, plan_table, sample
from magray.imaging import write_picture
from magray.micromagnetics import RelaxedFilm
from magray.report.curves import draw_curves, draw_heat_map, line_style
from magray.report.html import write_page
from magray.report.labels import in_file_name, label, quantity
from magray.report.project import figure_names, write_report
from magray.report.scores import MAX_SCALES, scales_to_show, trained_spans
from magray.report.summary import Summary
from magray.report.tables import NOTHING, Table, markdown, number, score_table, tolerance_table
from magray.report.terminal import tolerance_tables
from magray.store import Store, create_store, rows_of
from tests.support.browser import in_browser
from tests.support.studies import SCALES, predictions_of, study_of

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SETS = {"0.25+0.5+1.0": (0.25, 0.5, 1.0), "1.0": (1.0,)}
TEST_SCALES = (0.25, 0.5, 0.75, 1.0)


def striped(film: Film) -> RelaxedFilm:
    """Return a film of soft stripes that are narrower for larger D, so that pictures differ."""
    ny, nx = film.cells[1], film.cells[0]
    y, x = np.mgrid[:ny, :nx] / nx
    turns = 2 + round(5 * film.D / 1e-3)
    m = np.zeros((3, ny, nx), np.float32)
    m[2] = np.tanh(4 * np.sin(2 * np.pi * (turns * x + np.sin(2 * np.pi * y) + film.seed % 7 / 7)))
    energy = dict.fromkeys(("exchange", "anisotropy", "dmi", "demag", "zeeman", "total"), -1.0)
    return RelaxedFilm(film, m, energy, 9e-5, 700, "converged", "", 1.0, "cpu", "magray test")


def estimates_of(films: list[Film]) -> pa.Table:
    """Return PREDICTIONS that are good at trained scales and shifted at the others."""
    random = np.random.default_rng(1)
    rows = []
    for name, trained in SETS.items():
        for scale in TEST_SCALES:
            for film in films:
                error = random.normal(0, 0.05e-3) + (0 if scale in trained else 0.9e-3 * (1 - scale))
                row = {"train_set": name, "seed": 1, "test_scale": scale, "film_id": film.film_id, "view": 0}
                rows.append(row | {"parameter": "D", "set_value": film.D, "estimated": film.D + error})
    return pa.Table.from_pylist(rows, schema=PREDICTIONS)


def scores_of(predictions: pa.Table) -> pa.Table:
    """Return STUDY of predictions. The bias at the low end is NaN, as if no film were there."""
    rows = []
    for (name, scale), group in predictions.to_pandas().groupby(["train_set", "test_scale"], sort=False):
        error = group.estimated - group.set_value
        r2 = 1 - float((error**2).mean() / group.set_value.var(ddof=0))
        row = {"train_set": name, "seed": 1, "test_scale": scale, "trained": scale in SETS[name], "parameter": "D"}
        row |= {"unit": "J/m2", "r2": r2, "mae": error.abs().mean(), "bias": error.mean(), "n": len(group)}
        rows.append(row | {"bias_low": float("nan"), "bias_high": error.max()})
    return pa.Table.from_pylist(rows, schema=STUDY)


def summary_of(films: list[Film]) -> Summary:
    """Return the summary of a project before its report."""
    constants = {"D": {"value": 0.512e-3, "error": 0.031e-3, "true": 0.534e-3, "unit": "J/m2"}}
    answer = {"picture": "held_out_film.png", "film_id": films[0].film_id, "scale_um": 1.0, "warnings": []}
    return Summary.model_validate(
        {
            "seconds": {"plan": 0.1, "simulate": 120.0},
            "versions": {"magray": "0.1.0", "python": "3.11"},
            "machine": "2 cores, a processor",
            "answer": answer | {"constants": constants},
        }
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Config, Store]:
    folder = tmp_path_factory.mktemp("project")
    overrides = [f"output={folder}", "campaign.cells=[128, 128]", "campaign.films=24"]
    config = load_config(CONFIG, overrides)
    films = sample(config.campaign.sampling())
    plan = plan_table(films, config.name)
    store = create_store(str(folder / "store"), config.name, plan)
    store.commit(rows_of([striped(film) for film in films], plan))
    predictions = estimates_of(films)
    pq.write_table(predictions, folder / "predictions.parquet")
    pq.write_table(scores_of(predictions), folder / "study.parquet")
    (folder / "report").mkdir()
    write_picture(folder / "report" / "held_out_film.png", store.images([films[0].film_id])[0])
    write_report(folder, store, config, summary_of(films))
    return folder / "report", config, store


def test_tables_of_two_studies_make_no_page(made: tuple[Path, Config, Store], tmp_path: Path) -> None:
    """A scale without a score, a set without one at some scale, and a study of no parameter of the config."""
    report, config, store = made
    predictions = pq.read_table(report.parent / "predictions.parquet")
    study = pq.read_table(report.parent / "study.parquet")
    other_scale = predictions.set_column(2, "test_scale", pa.array(np.full(len(predictions), 0.123)))
    for wrong in (
        (other_scale, study),
        (predictions, study.slice(1)),
        (predictions, study.slice(0, 0)),
    ):
        for name, table in zip(("predictions", "study"), wrong, strict=True):
            pq.write_table(table, tmp_path / f"{name}.parquet")
        with pytest.raises(UserError, match="are not of one study; remove both and"):
            write_report(tmp_path, store, config, summary_of(sample(config.campaign.sampling())))


class Page(HTMLParser):
    """The unclosed tags, the addresses and the words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.pictures_without_words = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.pictures_without_words += tag == "img" and not dict(attrs).get("alt")
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data.split()


def test_the_page_needs_no_other_file(made: tuple[Path, Config, Store]) -> None:
    page = Page((made[0] / "index.html").read_text())
    assert not page.open
    assert page.addresses
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert page.pictures_without_words == 0


def test_the_page_holds_the_very_figures_that_lie_beside_it(made: tuple[Path, Config, Store]) -> None:
    page = Page((made[0] / "index.html").read_text())
    inside = {base64.b64decode(address.partition(",")[2]) for address in page.addresses}
    assert inside == {path.read_bytes() for path in made[0].glob("*.png")}
    assert len(inside) == 1 + 1 + 1 + 1 + len(SETS)  # held-out film, samples, curves, heat map, scatter


def test_every_row_of_the_study_is_in_the_table(made: tuple[Path, Config, Store]) -> None:
    text = (made[0] / "index.html").read_text()
    rows = pq.read_table(made[0].parent / "study.parquet").to_pylist()
    assert len(re.findall(r'class="tag untrained"', text)) == sum(not row["trained"] for row in rows)
    words = Page(text).words
    for row in rows:
        assert f"{row['r2']:.3f}".replace("-", "−") in words
        assert number(row["mae"] * 1e3, 3) in words
    assert words.count(NOTHING) == len(rows)  # the biases that are not numbers


def test_answer_protocol_and_versions_are_told(made: tuple[Path, Config, Store]) -> None:
    words = " ".join(Page((made[0] / "index.html").read_text()).words)
    assert "D = 0.512 ± 0.031 mJ/m²" in words
    assert "true value: 0.534 mJ/m²" in words
    assert "start: random; minimised to 0.001 Ms" in words
    assert "films by magray test" in words
    assert "0.1 to 1 mJ/m²" in words


def test_a_figure_that_is_a_link_to_a_file_elsewhere_is_not_shown(tmp_path: Path) -> None:
    """Whoever gets the page would get the file with it."""
    (tmp_path / "secret.png").write_text("secret", encoding="utf-8")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "search.png").symlink_to(tmp_path / "secret.png")
    content = {"project": "p", "ends": (0.5, 2.0), "tolerance": 0.1, "answers": {}, "picture": "search.png"}
    tables = dict.fromkeys(("costs", "front", "options"), Table(("a",), ()))
    with pytest.raises(UserError, match=r"search\.png is a link to another folder"):
        write_page("search.html", tmp_path / "report" / "search.html", **content, **tables)
    assert not (tmp_path / "report" / "search.html").exists()


@pytest.mark.parametrize(
    "damage", ["empty", "cut short", "other types", "nulls", "other columns", "a stranger's parameter"]
)
def test_a_study_that_magray_did_not_write_is_one_line(tmp_path: Path, damage: str) -> None:
    path, study = tmp_path / "study.parquet", study_of("D", ["1.0"], TEST_SCALES)
    changed = {
        "other types": study.set_column(6, "r2", study["r2"].cast(pa.string())),
        "nulls": study.set_column(6, "r2", pa.nulls(study.num_rows, pa.float64())),
        "other columns": study.drop_columns(["mae"]),
        "a stranger's parameter": study.set_column(4, "parameter", pa.repeat("o[/x]", study.num_rows)),
    }
    pq.write_table(changed.get(damage, study), path)
    if damage in ("empty", "cut short"):
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else -9])
    with pytest.raises(UserError, match=r"^(.*study\.parquet .*move it away|films have no parameter called 'o\[/x\]')"):
        tolerance_tables(path)


def test_the_name_of_every_figure_follows_from_the_config(made: tuple[Path, Config, Store]) -> None:
    """`magray report` removes the figures of the former config by these names."""
    drawn = {path.name for path in made[0].glob("*.png")} - {"held_out_film.png"}
    assert drawn <= {*figure_names(made[1])}


def test_figures_are_sharp_enough_to_print(made: tuple[Path, Config, Store]) -> None:
    for path in made[0].glob("*.png"):
        with Image.open(path) as picture:
            assert path.name == "held_out_film.png" or min(picture.size) >= 400


def test_parameters_are_shown_in_the_units_that_people_use() -> None:
    assert quantity("D").label == "D (mJ/m²)"
    assert quantity("Ms").factor * 1.5e6 == pytest.approx(1500)
    assert quantity("sigma").label == "sigma"


def test_a_training_set_has_words_and_a_file_name_of_its_own() -> None:
    """Names of sets are free text for a file system: none may leave the folder, and no two may share a file."""
    assert label("0.5+1.0") == "0.5, 1.0 µm"
    assert label("0.5..2.0") == "0.5 to 2.0 µm, scale known"
    assert label(TWO_NUMBERS) == "two numbers, no network"
    names = ["0.5+1.0", "0.5..2.0", "0.5/1.0", "0.5_1.0", "0.5%2F1.0", "../0.5", "µm 0.5"]
    files = [in_file_name(name) for name in names]
    assert len(set(files)) == len(names)
    assert all(set(file) <= set("abcdefghijklmnopqrstuvwxyzABCDEF0123456789+._%-") for file in files)


def test_a_range_is_one_span_and_listed_scales_are_marks_of_their_own() -> None:
    """A range was trained at 31 of the 33 test scales: 31 dots would look like a list of them."""
    study = study_of("Ms", ["0.5..2.0", "0.5+0.6"])
    assert trained_spans(study, "0.5..2.0") == [(0.5, 2.0)]
    assert trained_spans(study, "0.5+0.6") == [(0.5, 0.5), (0.6, 0.6)]
    assert trained_spans(study, TWO_NUMBERS) == [(0.5, 0.5), (0.6, 0.6), (2.0, 2.0)]


def test_estimates_are_drawn_at_trained_scales_and_in_the_widest_gaps_between_them() -> None:
    assert scales_to_show(study_of("D", ["0.5+1.0+2.0"]), [0.5, 0.7, 0.9]) == [0.5, 0.7, 0.9]
    chosen = scales_to_show(study_of("D", ["0.5+1.0+2.0"]), SCALES)
    assert chosen == [0.4, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    alone = scales_to_show(study_of("D", ["1.0"]), SCALES)
    assert len(alone) == MAX_SCALES
    assert {0.4, 1.0, 2.0} < set(alone)
    crowded = scales_to_show(study_of("D", ["+".join(f"{scale:g}" for scale in SCALES)]), SCALES)
    assert len(crowded) == MAX_SCALES
    assert {0.4, 2.0} < set(crowded)


def test_scores_are_means_of_seeds_with_their_spread_and_stay_numbers() -> None:
    """Errors of seeds 1, 2, 3 are 1.05, 1.10 and 1.15 times 18 µJ/m²: 0.0198 ± 0.00073 mJ/m²."""
    (row,) = (row for row in score_table(study_of("D", ["1.0"], [1.0])).rows if row[0].text == "1.0 µm")
    assert row[2].text == "trained"
    assert row[4].text == "0.0198 ± 0.00073"
    assert row[4].value == pytest.approx(1.1 * 0.02 * 0.9e-3)
    assert row[7].text == "−0.02 ± 0.00073"
    (alone,) = (row for row in score_table(study_of("D", ["1.0"], [1.0], seeds=1)).rows if row[0].text == "1.0 µm")
    assert alone[4].text == "0.0189"


def test_numbers_have_digits_and_no_exponents() -> None:
    assert [number(value, 3) for value in (1234.5, 0.0000123, -0.0461, 0.1)] == ["1230", "0.0000123", "-0.0461", "0.1"]


def test_the_band_of_tolerance_is_the_one_that_the_error_curve_has() -> None:
    """Errors grow by 15 times the least one for each µm, so that they double within 1/15 µm of 1.0 µm."""
    scales = [0.5, 0.9, 1.0, 1.1, 2.0]
    row = next(row for row in tolerance_table(study_of("D", ["1.0"], scales)).rows if row[0].text == "1.0 µm")
    assert [cell.text for cell in row[2:]] == ["1 µm", "0.93 µm", "1.07 µm", "0.13 (0.13 to 0.13)"]
    assert row[5].value == pytest.approx(2 / 15)
    flat = next(row for row in tolerance_table(study_of("D", ["0.5..2.0"], scales)).rows if "known" in row[0].text)
    assert [cell.text for cell in flat[3:5]] == ["≤ 0.50 µm", "≥ 2.00 µm"]


def test_markdown_has_the_rows_of_the_table() -> None:
    table = score_table(study_of("D", ["1.0"], [1.0, 2.0]))
    lines = list(markdown(table))
    assert len(lines) == 2 + len(table.rows)
    assert {line.count("|") for line in lines} == {len(table.heads) + 1}
    assert lines[2].startswith("| 1.0 µm | 1 µm | trained | 0.990 ± 0.000 | 0.0198 ± 0.00073 |")


def test_no_two_of_many_curves_look_alike_and_nine_differ_without_colour() -> None:
    """Line styles and markers distinguish them for colour-blind readers and on grey prints."""
    looks = [line_style(name, place) for place, name in enumerate([*map(str, range(24)), TWO_NUMBERS])]
    assert len(set(looks)) == len(looks)
    nine = [*looks[:8], looks[-1]]
    assert len({one.marker for one in nine}) == len({(one.line, one.marker) for one in nine}) == 9


@pytest.mark.parametrize("scales", [SCALES, (0.5, 0.75, 1.0), (1.0,)])
def test_the_heat_map_and_the_curves_of_any_study_can_be_drawn(tmp_path: Path, scales: tuple[float, ...]) -> None:
    """Many scales, few, or one; white edges show that nothing is cut off."""
    study = study_of("D", ["0.5+1.0+1.5+2.0", "1.0", "0.5..2.0"], scales)
    for draw in (draw_heat_map, draw_curves):
        draw(study, tmp_path / "figure.png")
        with Image.open(tmp_path / "figure.png") as picture:
            pixels = np.asarray(picture.convert("L"))
        assert pixels.min() < 100
        assert min(pixels[0].min(), pixels[-1].min(), pixels[:, 0].min()) > 250


def test_a_project_of_the_papers_size_has_one_figure_a_set_and_a_light_page(
    made: tuple[Path, Config, Store], tmp_path: Path
) -> None:
    """Some training sets and the baseline, 33 scales, 3 seeds, 500 films; why one scale fails at others."""
    sets = ["0.5+1.0+1.5+2.0", "1.0", "0.5..2.0"]
    study = study_of("D", sets)
    films = [f"{number:06d}" for number in range(500)]
    pq.write_table(study, tmp_path / "study.parquet")
    pq.write_table(predictions_of(study, films, (*SCALES[::5], 0.5, 1.0)), tmp_path / "predictions.parquet")
    row = {"train_set": "1.0", "seed": 1, "test_scale": 1.5, "parameter": "D", "unit": "J/m2", "r2": 0.5, "bias": 0.0}
    changes = {"neither": 0.1e-3, "domains": 0.2e-3, "walls": 0.3e-3, "both": 0.4321e-3}
    causes = [row | {"changed": changed, "mae": error} for changed, error in changes.items()]
    pq.write_table(pa.Table.from_pylist(causes, schema=WALL_ABLATION), tmp_path / "wall_ablation.parquet")
    _, config, store = made
    summary = summary_of(sample(config.campaign.sampling()))
    page = write_report(tmp_path, store, config, summary.model_copy(update={"answer": None}))
    assert len(list(page.parent.glob("scatter_*.png"))) == len(sets) + 1
    assert page.stat().st_size < 2e6
    text = page.read_text(encoding="utf-8")
    assert text.count('data-filter="0"') == 1
    assert "Causes of errors at other scales: D" in text
    assert ">0.432</td>" in text


@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_of_a_project_fits_a_phone_and_a_desk(
    made: tuple[Path, Config, Store], tmp_path: Path, width: int
) -> None:
    """Only boxes scroll sideways. A policy that refused the page's own script would leave heads without buttons."""
    script = """
    return {page: document.documentElement.scrollWidth, heads: document.querySelectorAll("th").length,
            buttons: document.querySelectorAll("th button").length};
    """
    found = in_browser((made[0] / "index.html").read_text(encoding="utf-8"), script, tmp_path, width)
    assert found["page"] <= width
    assert found["heads"] == found["buttons"] > 0
