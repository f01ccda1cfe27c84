"""Foreign files stay: magray removes only files that it must have written itself, and follows no links."""

import os
import platform
from pathlib import Path

import pyarrow as pa
import pytest

from magray.config import load_config
from magray.errors import UserError
from magray.films import plan_table
from magray.micromagnetics import relax
from magray.project.cache import StageCache
from magray.project.stages import Project, StageResult
from magray.store import Store, create_store, export_pictures, open_store, rows_of
from magray.store.layout import CAMPAIGN_FILE, LEASE_FILE
from tests.support.specimens import co_like

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
FILMS = [co_like((8, 8), seed=seed) for seed in range(2)]
TABLE = "films-0123456789abcdef01234567.parquet"
UNFINISHED = f".{TABLE}.89abcdef.tmp"


@pytest.fixture
def plan() -> pa.Table:
    return plan_table(FILMS, "mine")


@pytest.fixture
def store(plan: pa.Table, tmp_path: Path) -> Store:
    store = create_store(str(tmp_path / "store"), "mine", plan)
    for row, film in enumerate(relax(FILMS, "cpu")):
        store.commit(rows_of([film], plan.slice(row, 1)))
    return store


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(load_config(QUICKSTART, [f"output={tmp_path / 'out'}"]))


@pytest.mark.parametrize("name", ["notes.tmp", ".hidden.tmp", f"{UNFINISHED}.tmp", f"sub/{UNFINISHED}"])
def test_a_folder_with_anything_of_somebody_elses_is_no_place_for_a_store(
    plan: pa.Table, tmp_path: Path, name: str
) -> None:
    stranger = tmp_path / "folder" / name
    stranger.parent.mkdir(parents=True)
    stranger.write_text("precious")
    with pytest.raises(UserError, match="holds files and is not a store"):
        create_store(str(tmp_path / "folder"), "mine", plan)
    assert stranger.read_text() == "precious"


def test_leftovers_are_plain_files_of_the_stores_own_and_nothing_else(store: Store, tmp_path: Path) -> None:
    """In the store's folders themselves, and not through links, whatever these are called."""
    folder, outside = Path(store.uri), tmp_path / "outside"
    outside.mkdir()
    leftovers = [folder / UNFINISHED, folder / "films-1" / UNFINISHED, folder / "films-7" / TABLE]
    strangers = [folder / "notes.tmp", folder / "sub" / UNFINISHED, folder / "films-8" / "a.txt", outside / UNFINISHED]
    strangers += [outside / TABLE, folder / "films-07" / TABLE]
    for path in [*leftovers, *strangers]:
        path.parent.mkdir(exist_ok=True)
        path.write_text("precious")
    (folder / "films-9").symlink_to(outside)
    (folder / "films-8" / TABLE).symlink_to(outside / TABLE)
    link = folder / UNFINISHED.replace("89", "98")
    link.symlink_to(outside / UNFINISHED)
    store.begin_writing()
    assert not [path for path in leftovers if path.exists()]
    assert not (folder / "films-7").exists()
    assert link.is_symlink()
    assert (folder / "films-9").is_symlink()
    assert {path.read_text() for path in strangers} == {"precious"}
    assert store.count() == 2


def test_a_store_that_lost_its_first_file_goes_on_with_the_same_campaign_alone(store: Store, plan: pa.Table) -> None:
    (Path(store.uri) / CAMPAIGN_FILE).unlink()
    (Path(store.uri) / LEASE_FILE).write_text("{}")  # of a driver that was killed
    with pytest.raises(UserError, match="holds campaign mine, not yours"):
        create_store(store.uri, "yours", plan_table(FILMS, "yours"))
    with pytest.raises(UserError, match="holds another plan"):
        create_store(store.uri, "mine", plan.slice(0, 1))
    assert create_store(store.uri, "mine", plan).missing(plan).num_rows == 0
    assert open_store(store.uri).count() == 2


def test_an_export_leaves_a_folder_alone_that_another_may_be_writing(store: Store, tmp_path: Path) -> None:
    others = [tmp_path / ".pictures.unfinished", tmp_path / f".pictures.{platform.node()}.{os.getppid()}.unfinished"]
    for other in others:
        other.mkdir()
        (other / "thesis.tex").write_text("precious")
    export_pictures(store, tmp_path / "pictures")
    assert all((other / "thesis.tex").exists() for other in others)


def test_a_stage_refuses_to_write_over_a_file_that_no_stage_has_made(project: Project) -> None:
    stranger = project.folder / "report" / "index.html"
    stranger.parent.mkdir(parents=True)
    stranger.write_text("precious")
    (project.folder / "study.parquet").touch()
    with pytest.raises(UserError, match=r"index.html was not made by this project"):
        project.report()
    assert stranger.read_text() == "precious"


def test_only_checkpoints_of_fits_go_when_these_are_done(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    work = project.folder / ".work"
    for name in ("fit-0123456789abcdef", "fit-for-a-king", "search-0123"):
        (work / name).mkdir(parents=True)
    monkeypatch.setattr(Project, "_converged_films", lambda _: [])
    monkeypatch.setattr(StageCache, "is_done", lambda *_: True)
    monkeypatch.setattr(Project, "_fit", lambda *_, **__: StageResult("fitted", True, 0.0))
    project.fit()
    assert {path.name for path in work.iterdir()} == {"fit-for-a-king", "search-0123"}
