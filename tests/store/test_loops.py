"""Hysteresis loops in a store: a column that films without a sweep, and files of former versions, do not have."""

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from magray import Film, Minimize, Protocol, Sweep, Uniform
from magray.films import plan_table
from magray.films.plan import PLAN_SCHEMA
from magray.micromagnetics import relax
from magray.store import STORE_SCHEMA, Store, compact, create_store, export_pictures, open_store, rows_of, verify
from tests.support.stores import plan_of, scattered_store

FIELDS = (4e5, 0.0, -4e5)


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    """Four films of 8 × 8 cells, two of them swept."""
    swept, plain = (
        Protocol(Uniform((0, 0, 1)), (Sweep(FIELDS, (0, 0, 1)),)),
        Protocol(Uniform((0, 0, 1)), (Minimize(),)),
    )
    films = [
        Film((8, 8), (4e-9, 4e-9, 4e-9), 8e5, 6e5, 13e-12, seed=seed, protocol=(swept, plain)[seed % 2])
        for seed in range(4)
    ]
    return rows_of(relax(films, "numpy"), plan_table(films, "loops"))


@pytest.fixture
def store(rows: pa.Table, tmp_path: Path) -> Store:
    store = create_store(str(tmp_path / "store"), "loops", rows.select(PLAN_SCHEMA.names))
    for first in (0, 2):
        store.commit(rows.slice(first, 2))
    return store


def loops_of(store: Store) -> dict[str, list[dict[str, float]] | None]:
    return {row["film_id"]: row["loop"] for row in store.table(["film_id", "loop"]).to_pylist()}


def test_a_loop_is_the_same_before_and_after_a_compaction(store: Store, rows: pa.Table) -> None:
    made = {row["film_id"]: row["loop"] for row in rows.to_pylist()}
    swept = [loop for loop in made.values() if loop is not None]
    assert len(swept) == 2
    assert [(point["Hx"], point["Hy"], point["Hz"]) for point in swept[0]] == [(0.0, 0.0, field) for field in FIELDS]
    assert swept[0][0]["mz"] > 0.99
    assert loops_of(store) == made
    compact(store)
    assert loops_of(open_store(store.uri)) == made
    assert verify(store, rows.select(PLAN_SCHEMA.names)).lines == ["4 of 4 films are committed"]


def test_an_export_has_a_line_for_each_point_of_a_loop(store: Store, tmp_path: Path) -> None:
    export_pictures(store, tmp_path / "png", "png")
    with (tmp_path / "png" / "loops.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    expected = [(film_id, point) for film_id, loop in loops_of(store).items() for point in loop or ()]
    key = [(film_id, point["Hz"], point["mz"]) for film_id, point in expected]
    assert sorted((point["film_id"], float(point["Hz"]), float(point["mz"])) for point in points) == sorted(key)


def test_a_dataset_for_hugging_face_has_the_loops(store: Store, tmp_path: Path) -> None:
    export_pictures(store, tmp_path / "hf", "hf")
    written = pa.concat_tables([pq.read_table(file) for file in sorted((tmp_path / "hf" / "data").glob("*.parquet"))])
    assert {row["film_id"]: row["loop"] for row in written.to_pylist()} == loops_of(store)


def test_an_export_of_films_without_a_loop_has_no_file_of_loops(tmp_path: Path) -> None:
    export_pictures(scattered_store(tmp_path / "store", 2, 2), tmp_path / "png", "png")
    assert not (tmp_path / "png" / "loops.csv").exists()


def test_verify_finds_a_loop_with_a_number_that_is_not_finite(store: Store) -> None:
    path = Path(store.uri) / store.files()[0]
    damaged = pq.read_table(path, schema=STORE_SCHEMA).to_pylist()
    next(row["loop"] for row in damaged if row["loop"])[1]["mz"] = float("nan")
    pq.write_table(pa.Table.from_pylist(damaged, STORE_SCHEMA), path)
    (line,) = verify(store).damaged
    assert "its loop has a number that is not finite" in line


def test_a_store_of_a_former_version_has_no_loops_and_is_whole(tmp_path: Path) -> None:
    """Its files lack the column; one of them is written anew by a compaction, beside one of this version."""
    store = scattered_store(tmp_path / "store", 4, 2)
    before, plan = store.table().sort_by("film_id"), plan_of(store)
    former = Path(store.uri) / store.files()[0]
    pq.write_table(pq.read_table(former).drop_columns("loop"), former)
    store = open_store(store.uri)
    for _ in range(2):
        assert store.table().sort_by("film_id").equals(before)
        assert set(loops_of(store).values()) == {None}
        assert verify(store, plan).lines == ["4 of 4 films are committed"]
        compact(store)
