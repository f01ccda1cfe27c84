"""`magray store`: listing, compacting and exporting a store from the command line."""

import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from magray.cli import app as cli
from magray.errors import UserError
from magray.store import STORE_SCHEMA, Store, open_store, verify
from magray.store.location import Location
from magray.store.parquet import open_parquet
from tests.support.stores import plan_of, scattered_store

FILMS = 6

Magray = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def magray(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Magray:
    """Run `magray store` in this process: exit code, lines of stdout, lines of stderr."""

    def run(*arguments: object) -> tuple[int, list[str], list[str]]:
        monkeypatch.setattr(sys, "argv", ["magray", "store", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, said.out.splitlines(), said.err.splitlines()

    return run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Each film in a file of its own."""
    return scattered_store(tmp_path / "store", FILMS, 1)


def test_ls_stops_at_its_limit(magray: Magray, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens no more files than it needs, and says that there are more."""
    opened: list[str] = []

    def noting(location: Location, name: str, checked: bool = False) -> AbstractContextManager[pq.ParquetFile]:
        opened.append(name)
        return open_parquet(location, name, checked)

    monkeypatch.setattr("magray.store.store.open_parquet", noting)
    code, out, err = magray("ls", store.uri, "--limit", 2)
    assert (code, len(out), len(opened)) == (0, 3, 3)
    assert err == ["more films follow; --limit 0 shows all"]
    assert out[1].split("\t")[0] in store.ids().to_pylist()
    assert len(magray("ls", store.uri, "--limit", 0)[1]) == FILMS + 1
    assert magray("ls", store.uri, "--limit", FILMS)[2] == []


def test_show_counts_by_status(magray: Magray, store: Store) -> None:
    _, out, _ = magray("show", store.uri)
    assert out[:2] == [f"campaign stripes: {FILMS} of {FILMS} films at {store.uri}", f"  converged: {FILMS}"]
    assert out[2] == f"files: {store.uri}/films-1/*.parquet"


def test_compact_merges_once_and_then_has_nothing_to_do(magray: Magray, store: Store) -> None:
    plan = plan_of(store)
    assert magray("compact", store.uri, "--films-per-file", 3)[1] == ["6 files became 2"]
    assert magray("compact", store.uri, "--films-per-file", 3)[1] == ["the store is already compact"]
    assert verify(open_store(store.uri), plan).ok


def test_compact_refuses_while_a_driver_lives(magray: Magray, store: Store) -> None:
    """Its commits and the compaction's removals would not know of each other."""
    from magray.store.lease import lease

    with lease(store.location, notify=lambda _: None):
        code, _, err = magray("compact", store.uri)
    assert code == 2
    assert "wait for it" in err[0]
    assert len(store.files()) == FILMS


@pytest.mark.parametrize("format_", ["png", "ovf", "hf"])
def test_export_writes_each_format(magray: Magray, store: Store, tmp_path: Path, format_: str) -> None:
    code, out, _ = magray("export", store.uri, tmp_path / "pictures", "--format", format_)
    assert (code, out) == (0, [f"{FILMS} pictures in {tmp_path / 'pictures'}"])
    code, _, err = magray("export", store.uri, tmp_path / "pictures", "--format", format_)
    assert code == 2
    assert "is not empty" in err[0]


def with_values(store: Store, column: str, values: object, kind: pa.DataType | None = None) -> Path:
    """Write the store's first file anew with `values` in one column of its only film, and returns its path."""
    path = Path(store.uri) / store.files()[0]
    rows = pq.read_table(path, schema=STORE_SCHEMA)
    place = STORE_SCHEMA.get_field_index(column)
    pq.write_table(rows.set_column(place, column, pa.array([values], kind or STORE_SCHEMA.field(column).type)), path)
    return path


DAMAGE = [
    ("film_id", "../../../outside", None, "film_id is not 24 hexadecimal digits"),
    ("film_id", "0" * 24 + "\n", None, "film_id is not 24 hexadecimal digits"),
    ("split", "/tmp/outside", None, "split is none of train, test"),
    ("status", "excellent", None, "status is none of converged, not_converged, failed"),
    ("D", math.nan, None, "D is not a finite number"),
    ("dz", math.inf, None, "dz is not a finite number"),
    ("energy_demag", math.nan, None, "energy_demag is not a finite number"),
    ("pixel_nm", math.nan, None, "pixel_nm is not a finite number"),
    ("pixel_nm", 0.0, None, "pixel_nm is not above 0"),
    ("height", -64, None, "height is not above 0"),
    ("image", b"\x80" * 4095, None, "it has no whole picture"),
    ("image", None, None, "it has no whole picture"),
    ("film_id", None, None, "column film_id has rows without a value"),
    ("Ms", None, None, "column Ms has rows without a value"),
    ("film_id", 7, pa.int64(), "column film_id holds int64, not string"),
    ("image", "picture", pa.string(), "column image holds string, not binary"),
]


@pytest.mark.parametrize(("column", "value", "kind", "words"), DAMAGE, ids=lambda value: str(value)[:20])
def test_a_row_that_no_simulation_gives_is_refused_in_one_line_and_named(
    magray: Magray, store: Store, tmp_path: Path, column: str, value: object, kind: pa.DataType | None, words: str
) -> None:
    """Whatever reads the column refuses it, and nothing is written; `verify` names the film or its file."""
    path = with_values(store, column, value, kind)
    before = {file: file.read_bytes() for file in Path(store.uri).rglob("*") if file.is_file()}
    commands = [("export", store.uri, tmp_path / "out", "--format", name) for name in ("png", "ovf", "hf")]
    for command in [*commands, ("compact", store.uri)]:
        code, out, err = magray(*command)
        assert (code, out, len(err)) == (2, [], 1), command
        assert words in err[0]
        assert "`magray store verify` names the damaged files" in err[0]
    assert {file: file.read_bytes() for file in Path(store.uri).rglob("*") if file.is_file()} == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in_one_file", "store"]
    code, out, _ = magray("verify", store.uri)
    assert code == 1
    assert any(path.name in line for line in out)


@pytest.mark.parametrize("column", ["film_id", "status", "D", "Ku1"])
def test_ls_show_and_what_a_fit_reads_refuse_what_is_wrong_with_the_columns_that_they_read(
    magray: Magray, store: Store, column: str
) -> None:
    with_values(store, column, math.nan if column in ("D", "Ku1") else "../outside")
    for command in (("ls", store.uri, "--limit", 0), ("show", store.uri, "0" * 24)):
        code, _, err = magray(*command)
        assert (code, len(err)) == (2, 1), command
        assert "`magray store verify` names the damaged files" in err[0]
    with pytest.raises(UserError, match=f"{column} is "):
        store.films(columns=["film_id", column])


@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [
        ("pixel_nm", 3.0, "damaged"),
        ("height", 65, "damaged"),
        ("max_torque", math.inf, "damaged"),
        ("split", "test", "foreign"),
        ("split", "train", "foreign"),
        ("protocol", "{", "foreign"),
    ],
)
def test_verify_holds_every_value_against_the_film_that_it_is_of(
    store: Store, column: str, value: object, kind: str
) -> None:
    plan = plan_of(store)
    path = Path(store.uri) / store.files()[0]
    if pq.read_table(path, columns=[column])[column][0].as_py() == value:
        return  # the film is of this split
    with_values(store, column, value)
    for report in (verify(store), verify(store, plan)):
        assert not report.ok
        assert path.name in getattr(report, kind)[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        "null",
        "{}",
        "[" * 100_000,
        '{"format": 1e999, "campaign": "a", "films": 1}',
        '{"format": "2", "campaign": "a", "films": 1}',
        '{"format": 2, "campaign": ["a"], "films": 1}',
        '{"format": 2, "campaign": "a", "films": -1}',
        '{"format": 2, "campaign": "a", "films": "many"}',
        '{"format": 2, "campaign": "a", "films": [1]}',
        '{"format": 3, "campaign": "a", "films": 1}',
        '{"format": 3, "campaign": "a", "films": 1, "generation": -1}',
        '{"format": 3, "campaign": "a", "films": 1, "generation": "films-1"}',
        '{"format": 2, "campaign": "a", "films": ' + "9" * 5000 + "}",
        b"\xff\xfe",
    ],
    ids=lambda text: str(text[:45]),
)
def test_a_damaged_note_of_the_campaign_is_one_line(magray: Magray, store: Store, text: str | bytes) -> None:
    (Path(store.uri) / "_campaign.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    for command in ("ls", "show", "verify", "compact"):
        code, out, err = magray(command, store.uri)
        assert (code, out, len(err)) == (2, [], 1)
        assert "_campaign.json" in err[0]


def test_a_filter_may_name_columns_that_are_not_asked_for(store: Store) -> None:
    rows = store.table(["film_id"], (pc.field("D") > 0) & (pc.field("status") == "converged"))
    assert rows.column_names == ["film_id"]
    assert sorted(rows["film_id"].to_pylist()) == sorted(store.ids().to_pylist())
    assert store.table(["D"], pc.field("split") == "neither").num_rows == 0
    some = store.ids().to_pylist()[:2]
    assert store.table(["film_id"], pc.field("film_id").isin(some)).num_rows == 2


def test_films_are_those_that_converged_by_id_of_one_split_or_both(store: Store) -> None:
    rows = pa.concat_tables(store.batches(STORE_SCHEMA.names)).to_pylist()
    for name in store.files():
        store.location.remove(name)
    rows[0] |= {"status": "failed", "image": None}
    rows[1] |= {"status": "not_converged"}
    for place, row in enumerate(rows):
        row["split"] = "test" if place % 2 else "train"
    store.commit(pa.Table.from_pylist(rows, schema=STORE_SCHEMA))
    for split in ("train", "test", None):
        ids = sorted(row["film_id"] for row in rows[2:] if split in (row["split"], None))
        assert store.films(split, ["D", "film_id"])["film_id"].to_pylist() == ids
    assert store.films("test", ["D"]).column_names == ["D"]
    assert "image" not in store.films().column_names
