"""Run `magray paper` with a few coarse films: every stage of both campaigns, and their results."""

import base64
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from markupsafe import escape
from PIL import Image
from rich.console import Console

from magray.config import load_config, load_figure
from magray.errors import UserError
from magray.report.labels import label
from magray.workflows import paper
from magray.workflows.paper import run

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def results(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Return the folder of results, and the lines printed meanwhile."""
    folder = tmp_path_factory.mktemp("paper")
    console = Console(record=True, width=160)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(CONFIGS, folder / "results", console, small=True)
        said = console.export_text().splitlines()
        patch.setattr(paper, "write_paper", lambda *_: None)  # which would draw the same figures again
        run(CONFIGS, folder / "results", console, small=True)
    assert all("done before" in line for line in console.export_text().splitlines() if "estimator of" in line)
    return folder / "results", said


def test_every_figure_is_drawn_and_every_panel_has_its_numbers(results: tuple[Path, list[str]]) -> None:
    folder, _ = results
    text = (folder / "README.md").read_text(encoding="utf-8")
    for path in sorted((CONFIGS / "studies").glob("fig*.yaml")):
        figure = load_figure(path)
        assert Image.open(folder / f"fig{figure.figure}.png").size[0] > 400
        for panel in figure.panels:
            for scale in panel.test:
                assert f"| {figure.figure}{panel.name} | {label(panel.train)} | {scale:g} µm | {panel.paper} |" in text
    for name, sets in (("dmi", 5), ("ms", 8)):
        config = load_config(CONFIGS / "paper" / f"{name}.yaml")
        assert len(config.fit.train_scales) == sets
        for train_set in config.fit.train_scales:
            assert f"| {label(str(train_set))} | 0.75 µm | " in text
    assert {path.name for path in folder.glob("curves_*.png")} == {"curves_D.png", "curves_Ms.png"}
    assert {path.name for path in folder.glob("heat_map_*.png")} == {"heat_map_D.png", "heat_map_Ms.png"}


def test_the_page_holds_every_figure_and_what_the_paper_found(results: tuple[Path, list[str]]) -> None:
    folder, _ = results
    page = (folder / "index.html").read_text(encoding="utf-8")
    for path in folder.glob("*.png"):
        assert base64.b64encode(path.read_bytes()).decode() in page
    for path in sorted((CONFIGS / "studies").glob("fig*.yaml")):
        for panel in load_figure(path).panels:
            assert str(escape(panel.paper)) in page


def test_the_tables_hold_every_training_set_seed_and_scale_and_are_small(results: tuple[Path, list[str]]) -> None:
    folder, _ = results
    study = pq.read_table(folder / "study.parquet")
    fits = [load_config(CONFIGS / "paper" / f"{name}.yaml").fit for name in ("dmi", "ms")]
    assert study.num_rows == sum(len(fit.train_scales) + 1 for fit in fits) * 7  # and a baseline each; scales
    causes = pq.read_table(folder / "wall_ablation.parquet")
    assert set(causes["changed"].to_pylist()) == {"neither", "domains", "walls", "both"}
    assert set(causes["train_set"].to_pylist()) == {"0.5", "1.0", "1.5"}
    assert (folder / "predictions.parquet").stat().st_size < 1e6


def test_the_same_films_are_seen_through_a_microscope(results: tuple[Path, list[str]]) -> None:
    folder, _ = results
    for name in ("dmi", "ms"):
        seen, plain = (pq.read_table(folder / f"{kind}.parquet") for kind in (f"microscope_study_{name}", "study"))
        assert seen["train_set"].unique().to_pylist() == ["0.4..2.0", "0.5+1.0+1.5+2.0", "two-numbers"]
        assert (
            seen["n"].to_pylist()[:7] == plain.filter(pc.equal(plain["project"], f"paper-{name}"))["n"].to_pylist()[:7]
        )
    assert "| trained at | D | Ms | D, microscope | Ms, microscope |" in (folder / "README.md").read_text(
        encoding="utf-8"
    )


def test_a_figure_that_asks_for_what_its_project_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fig2.yaml: panel b1: .*dmi.yaml trains 0.5, not 1.5"):
        run(CONFIGS, tmp_path, Console(), overrides=["fit.train_scales=['0.5']"])
    with pytest.raises(UserError, match=r"fig2.yaml: panel b1: .*dmi.yaml does not test 2 µm"):
        run(CONFIGS, tmp_path, Console(), overrides=["study.test_scales=[0.5, 1.0]"])
    with pytest.raises(UserError, match=r"holds no fig\*.yaml"):
        run(tmp_path, tmp_path, Console())
