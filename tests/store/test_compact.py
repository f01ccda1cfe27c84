"""Files of a store are replaced without a film being lost or seen twice, whoever reads and whatever is killed."""

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from magray.store.journal import JOURNAL_FILE, Journal
from numpy.typing import NDArray

from magray.errors import UserError
from magray.store import STORE_SCHEMA, Store, compact, create_store, delete_failed, open_store, settle, verify
from magray.store.location import Location
from magray.store.parquet import file_name
from magray.store.store import LEASE_FILE
from tests.support.object_storage import running
from tests.support.stores import plan_of, scattered_store

FILMS = 6
STEPS = 12  # of a compaction of six files into two: twice a note, a new file, three removals, a note

KILLED = """
import os, signal, sys
from magray.store import compact, open_store
from magray.store.location import Location
from magray.store.parquet import file_name

steps = 0

def dies():
    global steps
    steps += 1
    return steps - 1 == int(sys.argv[2])

def put(self, name, content, write=Location._put):
    if dies():
        write(self, name, memoryview(content)[: len(memoryview(content)) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, name, content)

def remove(self, name, remove=Location.remove):
    if dies():
        os.kill(os.getpid(), signal.SIGKILL)
    remove(self, name)

Location._put, Location.remove = put, remove
compact(open_store(sys.argv[1]), 3)
"""


@pytest.fixture(scope="module")
def scattered(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Each film in a file of its own."""
    return scattered_store(tmp_path_factory.mktemp("scattered") / "store", FILMS, 1)


@pytest.fixture
def store(scattered: Store, tmp_path: Path) -> Store:
    """The same in a folder of the test's own."""
    shutil.copytree(scattered.uri, tmp_path / "store")
    return open_store(str(tmp_path / "store"))


def ids_of(store: Store) -> list[str]:
    return sorted(store.ids().to_pylist())


def pictures_of(store: Store) -> NDArray[np.uint8]:
    return store.images(ids_of(store))


def is_the_same(store: Store, original: Store) -> None:
    """Each film is seen once, with the same picture and the same numbers."""
    assert ids_of(store) == ids_of(original)
    assert store.count() == FILMS
    np.testing.assert_array_equal(pictures_of(store), pictures_of(original))
    assert store.table().sort_by("film_id").equals(original.table().sort_by("film_id"))


def test_a_compact_store_holds_the_same_films_in_fewer_files(store: Store, scattered: Store) -> None:
    done = compact(store)
    assert (done.before, done.after) == (FILMS, 1)
    assert len(store.files()) == 1
    is_the_same(open_store(store.uri), scattered)
    assert verify(store, plan_of(scattered)).lines == [f"{FILMS} of {FILMS} films are committed"]
    assert pq.read_schema(f"{store.uri}/{store.files()[0]}").equals(STORE_SCHEMA, check_metadata=True)


@pytest.mark.parametrize(("films", "files"), [(3, [3, 3]), (4, [2, 4]), (100, [6]), (2, [1, 1, 1, 1, 1, 1])])
def test_a_store_that_is_compact_is_left_alone(store: Store, films: int, files: list[int]) -> None:
    """Also by a size that does not divide it: files of half that size or more are large enough."""
    compact(store, films)
    assert sorted(pq.read_metadata(f"{store.uri}/{name}").num_rows for name in store.files()) == files
    before = {path.name: path.stat().st_mtime_ns for path in Path(store.uri).iterdir()}
    done = compact(store, films)
    assert done.before == done.after == len(files)
    assert {path.name: path.stat().st_mtime_ns for path in Path(store.uri).iterdir()} == before


def test_a_campaign_goes_on_in_a_compact_store(store: Store, scattered: Store) -> None:
    """A film that is lost with its file is missing, and comes back into a file of its own."""
    plan, rows = plan_of(scattered), pa.concat_tables(scattered.batches(STORE_SCHEMA.names))
    (Path(store.uri) / store.files()[0]).unlink()
    compact(store)
    store = create_store(store.uri, "stripes", plan)
    missing = store.missing(plan)
    assert missing.num_rows == 1
    store.commit(rows.filter(pc.is_in(rows["film_id"], value_set=missing["film_id"].combine_chunks())))
    is_the_same(store, scattered)
    assert compact(store).after == 1
    is_the_same(store, scattered)


@pytest.mark.parametrize("step", [1, 3, 5, 7])
def test_a_killed_compaction_loses_and_doubles_nothing(store: Store, scattered: Store, step: int) -> None:
    """SIGKILL while the new file is half written, between two removals, in the last note, in the second file."""
    killed = subprocess.run([sys.executable, "-c", KILLED, store.uri, str(step)], check=False)
    assert killed.returncode == -signal.SIGKILL
    ends_well(store, scattered)


def test_a_compaction_killed_in_an_object_store_loses_nothing(
    scattered: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two removals."""
    with running(tmp_path / "server") as storage:
        for name, value in storage.environment.items():
            monkeypatch.setenv(name, value)
        storage.filesystem().create_dir("bucket")
        store = create_store("s3://bucket/films", "stripes", plan_of(scattered))
        for rows in scattered.batches(STORE_SCHEMA.names):
            store.commit(rows)
        killed = subprocess.run([sys.executable, "-c", KILLED, store.uri, "3"], check=False)
        assert killed.returncode == -signal.SIGKILL
        ends_well(store, scattered)


class Dead(BaseException):
    """What a killed process does not outlive."""


@pytest.mark.parametrize("step", range(STEPS))
def test_a_compaction_may_end_before_any_of_its_steps(
    store: Store, scattered: Store, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter(range(STEPS))

    def mortal(method: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            if next(steps) >= step:
                raise Dead
            method(*arguments)

        return call

    with monkeypatch.context() as patch:
        for name in ("write", "remove"):
            patch.setattr(Location, name, mortal(getattr(Location, name)))
        with pytest.raises(Dead):
            compact(store, 3)
    ends_well(store, scattered)


def ends_well(store: Store, original: Store) -> None:
    """After a kill the store reads as before, verifies, can go on as a campaign, and can be compacted again."""
    plan = plan_of(original)
    is_the_same(open_store(store.uri), original)
    assert verify(store, plan).ok
    assert create_store(store.uri, "stripes", plan).missing(plan).num_rows == 0
    compact(store, 3)
    is_the_same(open_store(store.uri), original)
    assert verify(store, plan).lines == [f"{FILMS} of {FILMS} films are committed"]
    assert len(store.files()) == 2


def test_what_a_living_driver_replaces_is_left_to_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second driver opens the store before it asks for the lease; it must not take back what the first is at."""
    plan = plan_of(store)
    with monkeypatch.context() as patch:
        patch.setattr("magray.store.replace._flush", dies)
        with pytest.raises(Dead):
            compact(store)
    before = sorted(path.name for path in Path(store.uri).iterdir())
    store.location.write(LEASE_FILE, b"{}")
    create_store(store.uri, "stripes", plan)
    assert sorted(path.name for path in Path(store.uri).iterdir()) == sorted([*before, LEASE_FILE])
    assert verify(store, plan).unfinished[0].startswith(JOURNAL_FILE)
    store.location.remove(LEASE_FILE)
    create_store(store.uri, "stripes", plan)
    assert verify(store, plan).unfinished == []


def dies(*_: object) -> None:
    raise Dead


def test_readers_see_every_film_once_while_files_are_replaced(store: Store, scattered: Store) -> None:
    """Readers of every kind, at work all the while that files go and come."""
    wanted, ids, done, reads = pictures_of(scattered), ids_of(scattered), threading.Event(), list[bool]()

    def read() -> None:
        while not done.is_set():
            fresh = open_store(store.uri)
            right = ids_of(fresh) == ids and fresh.count() == FILMS and np.array_equal(fresh.images(ids), wanted)
            converged = fresh.table(["film_id"], pc.field("status") == "converged")
            reads.append(right and sorted(converged["film_id"].to_pylist()) == ids)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        while len(reads) < 5 and reader.is_alive():
            compact(store, 3)
            compact(store)
            scatter(store)
    finally:
        done.set()
        reader.join()
    assert len(reads) >= 5
    assert all(reads)


def scatter(store: Store) -> None:
    """The opposite of compaction, just as safe: each film into a file of its own."""
    (old,) = store.files()
    rows = pq.read_table(f"{store.uri}/{old}", schema=STORE_SCHEMA)
    singles = [rows.slice(i, 1) for i in range(FILMS)]
    journal = Journal.begin(store.location, [old], [file_name(one["film_id"].to_pylist()) for one in singles])
    for one in singles:
        store.commit(one)
    journal.finish(store.location)


def test_a_stream_that_a_compaction_overtakes_says_so(store: Store) -> None:
    """It has given some of the films already, so it cannot begin again by itself."""
    stream = store.batches(["film_id"])
    next(stream)
    compact(store)
    with pytest.raises(UserError, match="run it again"):
        list(stream)


def test_a_damaged_file_stops_a_compaction_and_nothing_is_lost(store: Store) -> None:
    path = Path(store.uri) / store.files()[1]
    column = pq.read_metadata(path).row_group(0).column(STORE_SCHEMA.names.index("image"))
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size - 20] ^= 1
    path.write_bytes(content)
    before = {path.name: path.read_bytes() for path in Path(store.uri).iterdir()}
    with pytest.raises(UserError, match="store verify"):
        compact(store)
    assert {path.name: path.read_bytes() for path in Path(store.uri).iterdir()} == before


def test_a_film_that_is_there_twice_is_for_the_user_to_sort_out(store: Store) -> None:
    """Two files that share a film: in one file they could no longer be told apart."""
    two = [pq.read_table(f"{store.uri}/{name}", schema=STORE_SCHEMA) for name in store.files()[:2]]
    store.commit(pa.concat_tables(two))
    with pytest.raises(UserError, match="2 films more than once"):
        compact(store)


def with_failures(store: Store, failed: list[int]) -> list[str]:
    """Commits the films of `store` anew, two a file, these without a picture. Returns the failed ids."""
    rows = pa.concat_tables(store.batches(STORE_SCHEMA.names)).to_pylist()
    for name in store.files():
        store.location.remove(name)
    for place in failed:
        rows[place] |= {"status": "failed", "image": None, "reason": "overflow"}
    for first in range(0, FILMS, 2):
        store.commit(pa.Table.from_pylist(rows[first : first + 2], schema=STORE_SCHEMA))
    return [rows[place]["film_id"] for place in failed]


def test_failed_films_are_forgotten_and_the_others_stay(
    store: Store, scattered: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file loses a film, one loses both and goes, one stays as it is."""
    monkeypatch.setattr("magray.store.replace.GROUP_FILMS", 1)
    failed = with_failures(store, [0, 4, 5])
    before = set(store.files())
    assert delete_failed(store) == 3
    assert len(store.files()) == 2
    assert len(before.intersection(store.files())) == 1
    plan = plan_of(scattered)
    assert sorted(store.missing(plan)["film_id"].to_pylist()) == sorted(failed)
    kept = [film_id for film_id in ids_of(scattered) if film_id not in failed]
    np.testing.assert_array_equal(store.images(kept), scattered.images(kept))
    assert delete_failed(store) == 0


def test_forgetting_that_was_cut_short_is_finished_by_settling(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of failed films only is gone from the moment that the note says so."""
    with_failures(store, [0, 1])
    with monkeypatch.context() as patch:
        patch.setattr(Location, "remove", dies)
        with pytest.raises(Dead):
            delete_failed(store)
    assert store.count() == FILMS - 2
    assert len(list(Path(store.uri).glob("films-*"))) == 3
    settle(store.location)
    assert store.count() == FILMS - 2
    assert len(list(Path(store.uri).glob("films-*"))) == 2


def test_a_damaged_note_is_told_in_one_line(store: Store) -> None:
    (Path(store.uri) / JOURNAL_FILE).write_text("{")
    with pytest.raises(UserError, match=f"{JOURNAL_FILE} is damaged"):
        store.count()
