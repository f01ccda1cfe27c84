"""`magray store`: listing, compacting and exporting a store from the command line."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from magray import cli
from magray.store import Store, open_store, verify
from magray.store.location import Location
from magray.store.parquet import open_parquet
from tests.stores import plan_of, scattered_store

FILMS = 6

Magray = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def magray(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Magray:
    """Runs `magray store` in this process: exit code, lines of stdout, lines of stderr."""

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


def test_compact_merges_once_and_then_has_nothing_to_do(magray: Magray, store: Store) -> None:
    plan = plan_of(store)
    assert magray("compact", store.uri, "--films-per-file", 3)[1] == ["6 files became 2"]
    assert magray("compact", store.uri, "--films-per-file", 3)[1] == ["the store is compact"]
    assert verify(open_store(store.uri), plan).ok


def test_compact_refuses_while_a_driver_lives(magray: Magray, store: Store) -> None:
    """Its commits and the compaction's removals would not know of each other."""
    from magray.campaign.lease import lease

    with lease(store.location, tell=lambda _: None):
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
