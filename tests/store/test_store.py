"""A store is what it says: each film of a plan once, whole, readable by anybody, and it says when it is not."""

import errno
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from magray.errors import UserError
from magray.films import Film, plan_table
from magray.micromagnetics import RelaxedFilm, relax
from magray.store import STORE_SCHEMA, Store, create_store, open_store, rows_of, verify
from magray.store.layout import FORMAT
from magray.store.location import Location
from magray.store.rows import pixels
from magray.store.store import read_row_index

CAMPAIGN = "small"


class Made(NamedTuple):
    """A finished campaign of six films, 32 × 16 cells."""

    relaxed: list[RelaxedFilm]
    plan: pa.Table
    store: Store


def small(seed: int) -> Film:
    return Film(cells=(32, 16), cell_size=(4e-9, 4e-9, 4e-9), Ms=1.5e6, Ku1=1.6e6, Aex=31e-12, sigma=0.1, seed=seed)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Made:
    films = [small(seed) for seed in range(6)]
    relaxed, plan = relax(films, "cpu"), plan_table(films, CAMPAIGN)
    store = create_store(str(tmp_path_factory.mktemp("finished") / "store"), CAMPAIGN, plan)
    for first in range(0, 6, 2):
        store.commit(rows_of(relaxed[first : first + 2], plan.slice(first, 2)))
    return Made(relaxed, plan, store)


@pytest.fixture
def made(finished: Made, tmp_path: Path) -> Made:
    """The same campaign in a store of the test's own, to damage."""
    shutil.copytree(finished.store.uri, tmp_path / "store")
    return finished._replace(store=open_store(str(tmp_path / "store")))


def a_file(store: Store) -> Path:
    return Path(store.uri) / store.files()[0]


def film_ids(plan: pa.Table) -> list[str]:
    return list(plan["film_id"].to_pylist())


def test_pixels_run_from_0_at_mz_down_to_255_at_mz_up() -> None:
    mz = np.array([-1, -0.5, 0, 0.5, 1], np.float32)
    assert pixels(mz).tolist() == [0, 64, 128, 191, 255]


def test_pictures_come_back_as_they_were_in_any_order_asked_for(finished: Made) -> None:
    order = [4, 0, 3]
    images = finished.store.images([film_ids(finished.plan)[i] for i in order])
    assert images.shape == (3, 16, 32)
    for image, i in zip(images, order, strict=True):
        m = finished.relaxed[i].m
        assert m is not None
        np.testing.assert_allclose(image / 127.5 - 1, m[2], atol=0.5 / 127.5 + 1e-6)


def test_pictures_are_read_by_row_group_without_a_look_at_the_rest_of_the_store(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store of a million films takes seconds to look through, and a fit reads it piece by piece."""
    ids = [film_ids(made.plan)[i] for i in (4, 0, 3)]
    expected, row_index = made.store.images(ids), made.store.row_index(ids)
    assert sorted(film for films in row_index["films"].to_pylist() for film in films) == [0, 1, 2]
    monkeypatch.delattr(Location, "names")
    found = pa.concat_tables(read_row_index(row_index, made.store.uri))
    for film, image in zip(found["film"].to_pylist(), found["image"].to_pylist(), strict=True):
        assert image == expected[film].tobytes()


def test_a_piece_that_a_compaction_took_away_is_told_in_one_line(made: Made) -> None:
    row_index = made.store.row_index(film_ids(made.plan))
    a_file(made.store).unlink()
    with pytest.raises(UserError, match="changed while it was read: a file is gone; run it again"):
        list(read_row_index(row_index, made.store.uri))


def test_a_row_holds_inputs_energies_and_what_it_took(finished: Made) -> None:
    rows = {row["film_id"]: row for row in finished.store.table().to_pylist()}
    for film in finished.relaxed:
        row = rows[film.film.film_id]
        assert (row["Ms"], row["sigma"], row["seed"]) == (1.5e6, 0.1, film.film.seed)
        assert (row["height"], row["width"], row["pixel_nm"]) == (16, 32, pytest.approx(4.0))
        assert row["energy_total"] == pytest.approx(film.energy["total"])
        assert row["energy_exchange"] == pytest.approx(film.energy["exchange"])
        assert (row["status"], row["evaluations"], row["reason"]) == ("converged", film.evaluations, "")


def test_units_and_the_layout_of_pictures_travel_with_the_file(finished: Made) -> None:
    schema = pq.read_schema(a_file(finished.store))
    assert schema.field("D").metadata[b"unit"] == b"J/m2"
    assert schema.field("energy_demag").metadata[b"unit"] == b"J/m3"
    assert schema.field("image").metadata[b"layout"].startswith(b"row-major")


def test_pictures_are_zstd_without_a_dictionary(finished: Made) -> None:
    group = pq.read_metadata(a_file(finished.store)).row_group(0)
    image = group.column(STORE_SCHEMA.names.index("image"))
    assert image.compression == "ZSTD"
    assert not image.has_dictionary_page


def test_duckdb_polars_and_pandas_read_the_same_columns(finished: Made) -> None:
    """Without pictures in the way: every scalar is a plain Parquet column."""
    files = finished.store.glob
    want = finished.store.table().sort_by("film_id")
    names = ", ".join(want.column_names)
    by_duckdb = duckdb.execute(f"SELECT {names} FROM read_parquet('{files}') ORDER BY film_id").fetchall()
    assert by_duckdb == [tuple(row.values()) for row in want.to_pylist()]
    by_polars = pl.scan_parquet(files).select(want.column_names).sort("film_id").collect()
    assert by_polars.rows() == by_duckdb
    by_pandas = pd.read_parquet(Path(files).parent, columns=want.column_names).sort_values("film_id")
    pd.testing.assert_frame_equal(by_pandas.reset_index(drop=True), want.to_pandas(), check_dtype=False)


def test_a_failed_film_is_a_row_without_a_picture(finished: Made, tmp_path: Path) -> None:
    failed = replace(finished.relaxed[0], m=None, energy={}, max_torque=np.nan, status="failed", reason="overflow")
    store = create_store(str(tmp_path / "s"), CAMPAIGN, finished.plan.slice(0, 1))
    store.commit(rows_of([failed], finished.plan.slice(0, 1)))
    (row,) = store.table(["image", "energy_total", "max_torque", "reason"]).to_pylist()
    assert row == {"image": None, "energy_total": None, "max_torque": None, "reason": "overflow"}
    assert verify(store, finished.plan.slice(0, 1)).ok
    with pytest.raises(UserError, match="failed and has no picture"):
        store.images(film_ids(finished.plan)[:1])


def test_committing_a_block_again_changes_nothing(made: Made) -> None:
    """A task that Ray runs twice writes the same films to the same file, in whatever order they finished."""
    again = rows_of(made.relaxed[1::-1], made.plan.slice(0, 2))
    (file,) = set(made.store.commit(again))
    assert file in made.store.files()
    assert len(made.store.files()) == 3
    assert verify(made.store, made.plan).ok


def test_a_store_goes_on_where_it_stopped(finished: Made, tmp_path: Path) -> None:
    store = create_store(str(tmp_path / "s"), CAMPAIGN, finished.plan)
    assert store.missing(finished.plan).equals(finished.plan)
    store.commit(rows_of(finished.relaxed[:4], finished.plan.slice(0, 4)))
    resumed = create_store(str(tmp_path / "s"), CAMPAIGN, finished.plan)
    assert film_ids(resumed.missing(finished.plan)) == film_ids(finished.plan)[4:]
    assert resumed.count() == 4


def test_a_plan_may_grow_but_not_change(made: Made) -> None:
    more = plan_table([small(seed) for seed in range(8)], CAMPAIGN)
    assert film_ids(create_store(made.store.uri, CAMPAIGN, more).missing(more)) == film_ids(more)[6:]
    with pytest.raises(UserError, match="holds another plan"):
        create_store(made.store.uri, CAMPAIGN, more.slice(3))
    with pytest.raises(UserError, match="holds campaign small, not other"):
        create_store(made.store.uri, "other", plan_table([small(0)], "other"))


def test_a_plan_of_other_physics_or_with_a_film_twice_is_refused(finished: Made, tmp_path: Path) -> None:
    column = finished.plan.schema.get_field_index("physics_version")
    old = finished.plan.set_column(column, "physics_version", pa.array([0] * 6, pa.int32()))
    with pytest.raises(UserError, match="physics version 0"):
        create_store(str(tmp_path / "s"), CAMPAIGN, old)
    with pytest.raises(UserError, match="a film twice"):
        create_store(str(tmp_path / "s"), CAMPAIGN, pa.concat_tables([finished.plan, finished.plan]))
    assert not (tmp_path / "s").exists()


def test_a_folder_with_other_things_is_left_alone(finished: Made, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear reader")
    with pytest.raises(UserError, match="not a store"):
        create_store(str(tmp_path), CAMPAIGN, finished.plan)
    with pytest.raises(UserError, match="there is no store"):
        open_store(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("format_", "advice"), [(FORMAT + 1, "install a newer magray"), (1, "simulate its films again")]
)
def test_a_store_of_another_format_is_refused(made: Made, format_: int, advice: str) -> None:
    about = Path(made.store.uri) / "_campaign.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"format": format_}))
    with pytest.raises(UserError, match=advice):
        open_store(made.store.uri)


@pytest.mark.parametrize("uri", ["s3://me:secret@bucket/films", "s3://bucket/films?access_key=me&secret_key=secret"])
def test_credentials_in_a_uri_are_refused_and_not_repeated(uri: str) -> None:
    """A store's URI is kept beside results and shown; the environment is where credentials belong."""
    with pytest.raises(UserError, match=r"^the URI .*bucket.* holds credentials.*environ") as refused:
        open_store(uri)
    assert "secret@" not in str(refused.value)
    assert "=secret" not in str(refused.value)


def test_uris_and_paths_are_one_store(finished: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(finished.store.uri)
    monkeypatch.chdir(folder.parent)
    assert open_store(f"file://{folder}").count() == open_store("store").count() == open_store(folder).count() == 6
    assert open_store("store").uri == str(folder)
    with pytest.raises(UserError, match="nowhere://x is not a place"):
        open_store("nowhere://x")


def test_unknown_columns_and_films_are_named(finished: Made) -> None:
    with pytest.raises(UserError, match="no column Msat"):
        finished.store.table(["Msat"])
    with pytest.raises(UserError, match="no film 00ff"):
        finished.store.images(["00ff"])


def test_verify_passes_a_whole_store_and_counts_it(finished: Made) -> None:
    for report in (verify(finished.store, finished.plan), verify(finished.store)):
        assert report.ok
        assert report.lines == ["6 of 6 films are committed"]


def test_verify_finds_missing_films(made: Made) -> None:
    gone = pq.read_table(a_file(made.store), columns=["film_id"])["film_id"].to_pylist()
    a_file(made.store).unlink()
    report = verify(made.store, made.plan)
    assert not report.ok
    assert report.missing == sorted(gone)
    assert not verify(made.store).ok


def test_verify_finds_duplicates(made: Made) -> None:
    """Two files that share a film, as a run with other blocks would leave if resuming were broken."""
    made.store.commit(rows_of(made.relaxed[:3], made.plan.slice(0, 3)))
    assert verify(made.store, made.plan).duplicate == sorted(film_ids(made.plan)[:3])


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_verify_finds_truncated_files(made: Made, keep: float) -> None:
    path = a_file(made.store)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep if keep >= 1 else keep * len(whole))])
    report = verify(made.store, made.plan)
    assert len(report.truncated) == 1
    assert path.name in report.truncated[0]
    assert len(report.missing) == 2
    with pytest.raises(UserError, match="store verify"):
        made.store.ids()


def test_verify_finds_a_flipped_bit_in_a_picture(made: Made) -> None:
    path = a_file(made.store)
    column = pq.read_metadata(path).row_group(0).column(STORE_SCHEMA.names.index("image"))
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size - 20] ^= 1
    path.write_bytes(content)
    assert path.name in verify(made.store, made.plan).truncated[0]


def rewritten(made: Made, column: str, values: Sequence[object]) -> None:
    """Write the first file anew with other values in one column, under its own name."""
    path = a_file(made.store)
    rows = pq.read_table(path, schema=STORE_SCHEMA)
    i = STORE_SCHEMA.get_field_index(column)
    pq.write_table(rows.set_column(i, STORE_SCHEMA.field(i), pa.array(values, STORE_SCHEMA.field(i).type)), path)


def test_verify_finds_pictures_that_are_cut_short(made: Made) -> None:
    rewritten(made, "image", [b"\x80" * 512, b"\x80" * 511])
    (line,) = verify(made.store, made.plan).truncated
    assert "has no whole picture" in line


def test_verify_finds_rows_whose_inputs_were_altered(made: Made) -> None:
    rewritten(made, "Ms", [1.5e6, 1.4e6])
    (line,) = verify(made.store, made.plan).foreign
    assert "has other inputs than its id stands for" in line


def test_verify_finds_rows_of_another_plan_or_campaign(made: Made) -> None:
    assert len(verify(made.store, made.plan.slice(1)).foreign) == 1
    rewritten(made, "campaign", [CAMPAIGN, "other"])
    (line,) = verify(made.store, made.plan).foreign
    assert "is of campaign other" in line


def test_verify_finds_files_that_do_not_belong(made: Made) -> None:
    folder = Path(made.store.uri)
    (folder / "notes.txt").write_text("lunch")
    (folder / "films-1" / "films-of-summer.parquet").write_bytes(a_file(made.store).read_bytes())
    (folder / a_file(made.store).name).write_bytes(a_file(made.store).read_bytes())
    pq.write_table(pa.table({"x": [1]}), folder / "films-1" / "films-0.parquet")
    report = verify(made.store, made.plan)
    assert len(report.foreign) == 3
    assert len(report.truncated) == 1
    assert report.missing == []


def test_what_a_killed_writer_left_is_harmless_and_goes_away(made: Made) -> None:
    left = a_file(made.store).with_name(f".{a_file(made.store).name}.0123abcd.tmp")
    left.write_bytes(b"half")
    report = verify(made.store, made.plan)
    assert report.ok
    assert report.unfinished == [f"films-1/{left.name}"]
    create_store(made.store.uri, CAMPAIGN, made.plan).begin_writing()
    assert not left.exists()


def test_a_disk_without_room_is_refused_before_starting(
    finished: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Location, "free_bytes", lambda _: 10_000)
    with pytest.raises(UserError, match="no room for the store: 6 films"):
        create_store(str(tmp_path / "s"), CAMPAIGN, finished.plan)
    assert not (tmp_path / "s").exists()


def test_a_disk_that_fills_up_leaves_no_half_file(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Location._put

    def fill_up(location: Location, name: str, content: pa.Buffer) -> None:
        write(location, name, content.slice(0, 100))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Location, "_put", fill_up)
    before = sorted(Path(made.store.uri).rglob("*"))
    with pytest.raises(UserError, match="no room left"):
        made.store.commit(rows_of(made.relaxed[:3], made.plan.slice(0, 3)))
    assert sorted(Path(made.store.uri).rglob("*")) == before
