"""The report shows what the Parquet files say, to anyone who opens one file in a browser."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from magray.config import Config, load_config
from magray.films import Film, plan_table, sample
from magray.imaging import write_picture
from magray.micromagnetics import RelaxedFilm
from magray.report import write_report
from magray.report.page import quantity
from magray.store import Store, create_store, rows_of

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SETS = {"0.25+0.5+1.0": (0.25, 0.5, 1.0), "1.0": (1.0,)}
TEST_SCALES = (0.25, 0.5, 0.75, 1.0)


def striped(film: Film) -> RelaxedFilm:
    """Not physics: soft stripes that narrow as D rises, so that pictures differ."""
    ny, nx = film.cells[1], film.cells[0]
    y, x = np.mgrid[:ny, :nx] / nx
    turns = 2 + round(5 * film.D / 1e-3)
    m = np.zeros((3, ny, nx), np.float32)
    m[2] = np.tanh(4 * np.sin(2 * np.pi * (turns * x + np.sin(2 * np.pi * y) + film.seed % 7 / 7)))
    energy = dict.fromkeys(("exchange", "anisotropy", "dmi", "demag", "zeeman", "total"), -1.0)
    return RelaxedFilm(film, m, energy, 9e-5, 700, "converged", "", 1.0, "cpu", "magray test")


def predictions_of(films: list[Film]) -> pa.Table:
    """Estimates that are good at trained scales and shifted at the others."""
    random = np.random.default_rng(1)
    rows = []
    for name, trained in SETS.items():
        for scale in TEST_SCALES:
            for film in films:
                error = random.normal(0, 0.05e-3) + (0 if scale in trained else 0.9e-3 * (1 - scale))
                row = {"train_set": name, "test_scale": scale, "film_id": film.film_id, "view": 0, "parameter": "D"}
                rows.append(row | {"set_value": film.D, "estimated": film.D + error})
    return pa.Table.from_pylist(rows)


def study_of(predictions: pa.Table) -> pa.Table:
    """R², MAE and bias of those estimates."""
    frame = predictions.to_pandas()
    rows = []
    for (name, scale), group in frame.groupby(["train_set", "test_scale"], sort=False):
        error = group.estimated - group.set_value
        r2 = 1 - float((error**2).mean() / group.set_value.var(ddof=0))
        row = {"train_set": name, "test_scale": scale, "trained": scale in SETS[name], "parameter": "D", "unit": "J/m2"}
        rows.append(row | {"r2": r2, "mae": error.abs().mean(), "bias": error.mean(), "n": len(group)})
    return pa.Table.from_pylist(rows)


def summary_of(films: list[Film]) -> dict[str, Any]:
    """What a project knows when it draws its report."""
    constants = {"D": {"value": 0.512e-3, "error": 0.031e-3, "true": 0.534e-3, "unit": "J/m2"}}
    answer = {"picture": "held_out_film.png", "film_id": films[0].film_id, "scale_um": 1.0, "warnings": []}
    return {
        "seconds": {"plan": 0.1, "simulate": 120.0},
        "versions": {"magray": "0.1.0", "python": "3.11"},
        "machine": "2 cores, a processor",
        "answer": answer | {"constants": constants},
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Config, Store]:
    folder = tmp_path_factory.mktemp("project")
    overrides = [f"output={folder}", "campaign.cells=[128, 128]", "campaign.films=24"]
    config = load_config(CONFIG, overrides)
    films = sample(config.campaign.sampling())
    plan = plan_table(films, config.name)
    store = create_store(str(folder / "store"), config.name, plan)
    store.commit(rows_of([striped(film) for film in films], plan))
    predictions = predictions_of(films)
    pq.write_table(predictions, folder / "predictions.parquet")
    pq.write_table(study_of(predictions), folder / "study.parquet")
    (folder / "report").mkdir()
    write_picture(folder / "report" / "held_out_film.png", store.images([films[0].film_id])[0])
    write_report(folder, store, config, summary_of(films))
    return folder / "report", config, store


class Page(HTMLParser):
    """Tags that are not closed, addresses that the page would fetch, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
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


def test_the_page_holds_the_very_figures_that_lie_beside_it(made: tuple[Path, Config, Store]) -> None:
    page = Page((made[0] / "index.html").read_text())
    inside = {base64.b64decode(address.partition(",")[2]) for address in page.addresses}
    assert inside == {path.read_bytes() for path in made[0].glob("*.png")}
    assert len(inside) == 1 + 1 + 1 + len(SETS) * len(TEST_SCALES)  # samples, heat map, held-out film, scatter


def test_every_row_of_the_study_is_in_the_table(made: tuple[Path, Config, Store]) -> None:
    text = (made[0] / "index.html").read_text()
    rows = pq.read_table(made[0].parent / "study.parquet").to_pylist()
    assert len(re.findall(r'class="tag untrained"', text)) == sum(not row["trained"] for row in rows)
    words = Page(text).words
    for row in rows:
        assert f"{row['r2']:.3f}" in words


def test_answer_protocol_and_versions_are_told(made: tuple[Path, Config, Store]) -> None:
    words = " ".join(Page((made[0] / "index.html").read_text()).words)
    assert "D = 0.512 ± 0.031 mJ/m²" in words
    assert "made with 0.534 mJ/m²" in words
    assert "torque 0.001" in words
    assert "films by magray test" in words
    assert "0.1 to 1 mJ/m²" in words


def test_figures_of_an_earlier_config_do_not_stay(made: tuple[Path, Config, Store]) -> None:
    report, config, store = made
    stale = report / "scatter_D_2.0_at_9.png"
    stale.write_bytes(b"")
    write_report(report.parent, store, config, summary_of(sample(config.campaign.sampling())))
    assert not stale.exists()


def test_figures_are_sharp_enough_to_print(made: tuple[Path, Config, Store]) -> None:
    for path in made[0].glob("*.png"):
        with Image.open(path) as picture:
            assert path.name == "held_out_film.png" or min(picture.size) >= 400


def test_parameters_are_shown_in_the_units_that_people_use() -> None:
    assert quantity("D").label == "D (mJ/m²)"
    assert quantity("Ms").factor * 1.5e6 == pytest.approx(1500)
    assert quantity("sigma").label == "sigma"
