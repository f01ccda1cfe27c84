"""Plans and stores of magray 0.1 are still read. A store of format 2 has its files in the store's folder itself."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from magray.errors import UserError
from magray.files.atomic import read_table
from magray.films import films_of
from magray.films.plan import PLAN_SCHEMA
from magray.store import STORE_SCHEMA, Store, compact, create_store, delete_failed, open_store, verify
from magray.store.layout import FORMER_JOURNAL
from magray.store.parquet import file_name

FORMER = Path(__file__).parents[1] / "former"


@pytest.fixture
def plan() -> pa.Table:
    return read_table(FORMER / "plan.parquet", PLAN_SCHEMA)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A copy, to write to."""
    shutil.copytree(FORMER / "store", tmp_path / "store")
    return open_store(tmp_path / "store")


def test_a_former_plan_stands_for_the_same_films(plan: pa.Table) -> None:
    assert [film.film_id for film in films_of(plan)] == plan["film_id"].to_pylist()


def test_a_former_store_is_read_where_it_lies(plan: pa.Table) -> None:
    store = open_store(FORMER / "store")
    assert sorted(store.films()["film_id"].to_pylist()) == sorted(plan["film_id"].to_pylist())
    assert store.images(plan["film_id"].to_pylist()).shape == (4, 128, 128)
    assert verify(store, plan).lines == verify(store).lines == ["4 of 4 films are committed"]
    assert store.glob == f"{FORMER / 'store'}/*.parquet"


def test_a_former_store_goes_on_in_its_own_folder(store: Store, plan: pa.Table) -> None:
    """Its note then has the current format, so that a former version does not add to it."""
    ids = plan["film_id"].to_pylist()
    pictures, folder = store.images(ids), Path(store.uri)
    gone = folder / store.files()[0]
    rows = pq.read_table(gone, schema=STORE_SCHEMA)
    gone.unlink()
    store = create_store(store.uri, "former", plan).begin_writing()
    assert store.missing(plan).num_rows == rows.num_rows
    assert set(store.commit(rows)) == {gone.name}
    assert json.loads((folder / "_campaign.json").read_text()) == {
        "format": 3,
        "campaign": "former",
        "films": 4,
        "generation": 0,
    }
    np.testing.assert_array_equal(open_store(folder).images(ids), pictures)
    assert verify(store, plan).ok


def test_a_compaction_gives_a_former_store_the_current_layout(store: Store, plan: pa.Table) -> None:
    ids, folder = plan["film_id"].to_pylist(), Path(store.uri)
    (folder / FORMER_JOURNAL).write_text('{"id": "0", "into": [], "from": []}')  # of a compaction that ended well
    pictures, rows = store.images(ids), store.table().sort_by("film_id")
    assert compact(store).after == 1
    assert {path.name for path in folder.iterdir()} == {"_campaign.json", "films-1"}
    store = open_store(folder)
    np.testing.assert_array_equal(store.images(ids), pictures)
    assert store.table().sort_by("film_id").equals(rows)
    assert verify(store, plan).lines == ["4 of 4 films are committed"]


def test_failed_films_of_a_former_store_are_told_apart_and_deleted(store: Store, plan: pa.Table) -> None:
    """Their rows lie among the others there."""
    folder = Path(store.uri)
    rows = pa.concat_tables(store.batches(STORE_SCHEMA.names)).to_pylist()
    for name in store.files():
        (folder / name).unlink()
    rows[1] |= {"status": "failed", "image": None, "reason": "the energy is not finite"}
    name = file_name([row["film_id"] for row in rows])
    pq.write_table(pa.Table.from_pylist(rows, schema=STORE_SCHEMA), folder / name)
    assert verify(store, plan).ok
    assert store.films().num_rows == 3
    assert delete_failed(store) == 1
    assert store.missing(plan)["film_id"].to_pylist() == [rows[1]["film_id"]]
    assert [path.name.partition("-")[0] for path in (folder / "films-1").iterdir()] == ["films"]


@pytest.mark.parametrize("journal", ['{"id": "0", "into": ["a"], "from": ["b"]}', "{", ""])
def test_a_former_store_whose_compaction_was_interrupted_is_for_its_own_version(store: Store, journal: str) -> None:
    (Path(store.uri) / FORMER_JOURNAL).write_text(journal)
    with pytest.raises(UserError, match="run `magray store compact` with the version that wrote the store"):
        open_store(store.uri)
