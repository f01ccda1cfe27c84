"""A store is compacted without a film being lost or seen twice, by any reader and after a kill at any step."""

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from magray.errors import UserError
from magray.store import STORE_SCHEMA, Store, compact, create_store, delete_failed, lease, open_store, verify
from magray.store.layout import Note, path_of, remove_leftovers
from magray.store.location import Location
from magray.store.parquet import file_name, parquet
from tests.support.object_storage import running
from tests.support.stores import plan_of, scattered_store

FILMS = 6
READS = 6  # by a reader while a store is compacted again and again
STEPS = 10  # of a compaction of six files into two: two new files, the note, a folder hidden, six removals

KILLED = """
import os, signal, sys
from magray.store import compact, open_store
from magray.store.layout import Note, path_of, remove_leftovers
from magray.store.location import Location
from magray.store.parquet import file_name, parquet

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

def hide(self, folder, hide=Location.hide):
    if dies():
        os.kill(os.getpid(), signal.SIGKILL)
    return hide(self, folder)

Location._put, Location.remove, Location.hide = put, remove, hide
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
    before = files_in(store)
    done = compact(store, films)
    assert done.before == done.after == len(files)
    assert files_in(store) == before


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


@pytest.mark.parametrize("step", [0, 2, 5])
def test_a_killed_compaction_loses_and_doubles_nothing(store: Store, scattered: Store, step: int) -> None:
    """SIGKILL while a new file or the note is half written, and between two removals."""
    killed = subprocess.run([sys.executable, "-c", KILLED, store.uri, str(step)], check=False)
    assert killed.returncode == -signal.SIGKILL
    ends_well(store, scattered)


def test_a_compaction_killed_in_an_object_store_loses_nothing(
    scattered: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two removals. The dead driver's lease is watched for a moment, not for seconds."""
    monkeypatch.setattr(lease, "EXPIRY", 0.3)
    with running(tmp_path / "server") as storage:
        for name, value in storage.environment.items():
            monkeypatch.setenv(name, value)
        storage.filesystem().create_dir("bucket")
        store = create_store("s3://bucket/films", "stripes", plan_of(scattered))
        for rows in scattered.batches(STORE_SCHEMA.names):
            store.commit(rows)
        killed = subprocess.run([sys.executable, "-c", KILLED, store.uri, "5"], check=False)
        assert killed.returncode == -signal.SIGKILL
        ends_well(store, scattered)


class Dead(BaseException):
    """The end of a process that is killed."""


@pytest.mark.parametrize("step", range(STEPS))
def test_a_compaction_may_end_before_any_of_its_steps(
    store: Store, scattered: Store, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter(range(STEPS))

    def mortal(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if next(steps, STEPS) >= step:
                raise Dead
            return method(*arguments)

        return call

    with monkeypatch.context() as patch:
        for name in ("write", "remove", "hide"):
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


def test_what_a_living_driver_writes_is_left_to_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second driver opens the store before it asks for the lease; only with the lease it removes anything."""
    plan = plan_of(store)
    with monkeypatch.context() as patch:
        patch.setattr(Note, "write", dies)
        with pytest.raises(Dead):
            compact(store)
    before = files_in(store)
    second = create_store(store.uri, "stripes", plan)
    assert files_in(store) == before
    assert verify(store, plan).unfinished == ["films-2/: left by a compaction; the next one removes it"]
    second.begin_writing()
    assert verify(store, plan).unfinished == []


def dies(*_: object) -> None:
    raise Dead


def files_in(store: Store) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in Path(store.uri).rglob("*") if path.is_file()}


def while_compacted(store: Store, read: Callable[[Store], bool | None]) -> list[bool]:
    """The answers of a reader, at work all the while that files go and come, but for those of None."""
    done, reads = threading.Event(), list[bool]()

    def work() -> None:
        while not done.is_set():
            answer = read(open_store(store.uri))
            if answer is not None:
                reads.append(answer)

    reader = threading.Thread(target=work)
    reader.start()
    try:
        while len(reads) < READS and reader.is_alive():
            compact(store, 3)
            compact(store)
            scatter(store)
    finally:
        done.set()
        reader.join()
    assert len(reads) >= READS
    return reads


def scatter(store: Store) -> None:
    """The opposite of a compaction, just as safe: a generation with each film in a file of its own."""
    rows, generation = pa.concat_tables(store.batches(STORE_SCHEMA.names)), store.generation + 1
    for row in range(FILMS):
        name = file_name(rows["film_id"][row : row + 1].to_pylist())
        store.location.write(path_of(generation, name), parquet([rows.slice(row, 1)]))
    Note(store.campaign, store.planned, generation).write(store.location)
    remove_leftovers(store.location, generation)


def test_duckdb_counts_every_film_once_while_files_are_compacted(store: Store) -> None:
    """It finds the files by the store's glob: all of a generation, or none once this is removed."""

    def read(now: Store) -> bool | None:
        query = f"SELECT count(*), count(DISTINCT film_id) FROM '{now.glob}'"
        try:
            return duckdb.connect().execute(query).fetchone() == (FILMS, FILMS)
        except duckdb.IOException:
            return None  # removed since the glob was asked for

    assert all(while_compacted(store, read))


def test_readers_see_every_film_once_while_files_are_compacted(store: Store, scattered: Store) -> None:
    wanted, ids = pictures_of(scattered), ids_of(scattered)

    def read(now: Store) -> bool | None:
        try:
            right = ids_of(now) == ids and now.count() == FILMS and np.array_equal(now.images(ids), wanted)
            return right and now.films(columns=["film_id"])["film_id"].to_pylist() == ids
        except UserError:  # two compactions within one reading
            return None

    assert all(while_compacted(store, read))


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
    before = files_in(store)
    with pytest.raises(UserError, match="store verify"):
        compact(store)
    assert files_in(store) == before


def test_a_film_that_is_there_twice_is_for_the_user_to_sort_out(store: Store) -> None:
    """Two files that share a film: in one file they could no longer be told apart."""
    two = [pq.read_table(f"{store.uri}/{name}", schema=STORE_SCHEMA) for name in store.files()[:2]]
    store.commit(pa.concat_tables(two))
    with pytest.raises(UserError, match="2 films more than once"):
        compact(store)


def test_a_compaction_without_room_for_the_files_once_more_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_in(store)
    monkeypatch.setattr(Location, "free_bytes", lambda _: 10_000)
    with pytest.raises(UserError, match="no room to compact"):
        compact(store)
    assert files_in(store) == before


def test_a_file_that_is_large_enough_is_copied_as_it_is(store: Store) -> None:
    compact(store, 4)
    large = max(store.files(), key=lambda name: pq.read_metadata(f"{store.uri}/{name}").num_rows)
    content = (Path(store.uri) / large).read_bytes()
    rows = pq.read_table(f"{store.uri}/{min(set(store.files()) - {large})}", schema=STORE_SCHEMA)
    store.location.remove(min(set(store.files()) - {large}))
    for row in range(2):
        store.commit(rows.slice(row, 1))
    assert compact(store, 4).after == 2
    assert (Path(store.uri) / large.replace("films-2/", "films-3/")).read_bytes() == content


def test_a_folder_behind_a_link_and_a_strangers_file_survive_a_compaction(store: Store, tmp_path: Path) -> None:
    """The films may have been moved to another disk; a note may lie among them."""
    Path(store.uri, "films-1").rename(tmp_path / "other disk")
    Path(store.uri, "films-1").symlink_to(tmp_path / "other disk")
    before = sorted((tmp_path / "other disk").iterdir())
    compact(store, 3)
    assert sorted((tmp_path / "other disk").iterdir()) == before
    (Path(store.uri) / "films-2" / "notes.txt").write_text("precious")
    compact(store)
    assert [path.name for path in Path(store.uri, "films-2").iterdir()] == ["notes.txt"]
    assert store.count() == FILMS


def with_failures(store: Store, failed: list[int]) -> list[str]:
    """Commits the films of `store` anew, two at a time, these without a picture. Returns the failed ids."""
    rows = pa.concat_tables(store.batches(STORE_SCHEMA.names)).to_pylist()
    for name in store.files():
        store.location.remove(name)
    for place in failed:
        rows[place] |= {"status": "failed", "image": None, "reason": "overflow"}
    for first in range(0, FILMS, 2):
        store.commit(pa.Table.from_pylist(rows[first : first + 2], schema=STORE_SCHEMA))
    return [rows[place]["film_id"] for place in failed]


@pytest.mark.parametrize("compacted", [False, True])
def test_failed_films_are_deleted_and_the_others_stay(store: Store, scattered: Store, compacted: bool) -> None:
    """They have files of their own, before a compaction and after it: nothing is written."""
    failed, plan = with_failures(store, [0, 4, 5]), plan_of(scattered)
    if compacted:
        assert compact(store).after == 2
    assert verify(store, plan).ok
    before = files_in(store)
    assert delete_failed(store) == 3
    left = {path: time for path, time in before.items() if "failed-" not in path}
    assert len(left) == (2 if compacted else 3)  # with the note
    assert files_in(store) == left
    assert sorted(store.missing(plan)["film_id"].to_pylist()) == sorted(failed)
    kept = [film_id for film_id in ids_of(scattered) if film_id not in failed]
    np.testing.assert_array_equal(store.images(kept), scattered.images(kept))
    assert delete_failed(store) == 0


def test_deleting_that_was_cut_short_is_gone_on_with(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with_failures(store, [0, 2])
    with monkeypatch.context() as patch:
        patch.setattr(Location, "remove", dies)
        with pytest.raises(Dead):
            delete_failed(store)
    assert store.count() == FILMS
    assert delete_failed(store) == 2
    assert store.count() == FILMS - 2


@pytest.mark.parametrize("step", range(2, STEPS, 3))
def test_the_generation_with_all_films_counts_if_the_note_is_lost(
    store: Store, scattered: Store, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Be it the old one or the new one that an interrupted compaction left incomplete."""
    steps = iter(range(STEPS))

    def mortal(self: Location, name: str, method: Callable[[Location, str], None] = Location.remove) -> None:
        if next(steps) >= step:
            raise Dead
        method(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(Location, "remove", mortal)
        patch.setattr(Location, "hide", lambda _, folder: folder)  # as in an object store
        if step < FILMS:
            with pytest.raises(Dead):
                compact(store, 3)
        else:
            compact(store, 3)
    (Path(store.uri) / "_campaign.json").unlink()
    restored = create_store(store.uri, "stripes", plan_of(scattered)).begin_writing()
    is_the_same(restored, scattered)
    assert restored.generation == 2


def test_a_note_that_names_no_files_removes_none(store: Store) -> None:
    """It is damaged, or of an upload that arrived late: the films are in another generation."""
    before = files_in(store)
    Note(store.campaign, store.planned, 7).write(store.location)
    with pytest.raises(UserError, match="names generation 7, which is not there, and generation 1 is"):
        open_store(store.uri).begin_writing()
    assert {path: time for path, time in files_in(store).items() if "films-" in path}.items() <= before.items()
    Path(store.uri, "_campaign.json").unlink()
    assert create_store(store.uri, store.campaign, plan_of(store)).count() == FILMS
