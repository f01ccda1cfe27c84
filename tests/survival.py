"""What can befall a campaign, and what must be true of it afterwards.

A `House` is a cluster of three nodes and an object store, which campaigns run in. A round starts a campaign in a
process of its own, brings one misfortune over it at a moment that its seed decides, has the campaign end, and counts
what it cost. tests/cluster/test_survival.py plays one of each; `python -m benchmarks.survival` prints a table of many.
"""

import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs
from ray.cluster_utils import Cluster

from magray.films import Minimize, Protocol, plan_table
from magray.store import open_store, verify
from magray.store.location import locate
from tests.object_storage import ObjectStorage
from tests.s3_faults import Fault, FaultyProxy, before
from tests.specimens import co_like

CAMPAIGN, FILMS, BLOCK_FILMS, NODES = "survival", 24, 2, 3
BUCKET = "survival"
DEADLINE = 240.0  # seconds; whatever takes longer hangs
TESTS = Path(__file__).parent

DRIVER = f"""
import sys
from pathlib import Path
import pyarrow.parquet as pq
from magray.campaign import run_campaign
from magray.errors import UserError
try:
    plan, log = pq.read_table(sys.argv[1]), Path(sys.argv[3])
    run_campaign(plan, sys.argv[2], campaign="{CAMPAIGN}", block_films={BLOCK_FILMS}, log=log)
except UserError as error:
    print(f"UserError: {{error}}", file=sys.stderr)
    sys.exit(2)
"""


def slow_plan(films: int = FILMS) -> pa.Table:
    """Films that take a third of a second or so: the torque asked for is out of single precision's reach."""
    endless = Protocol(stages=(Minimize(torque=1e-12, max_evaluations=800),))
    return plan_table([co_like((64, 64), seed=seed, protocol=endless) for seed in range(films)], CAMPAIGN)


class Misfortune:
    """The wrong clock and the full disk of every process of the house; see misfortune.c."""

    def __init__(self, folder: Path) -> None:
        self.shim, self.file, self.disk = folder / "misfortune.so", folder / "misfortune", folder / "disk"
        source = str(TESTS / "misfortune.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(self.shim), source, "-ldl"], check=True)
        self.end()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to meet it."""
        return {
            "LD_PRELOAD": str(self.shim),
            "RAY_LD_PRELOAD_ON_WORKERS": "1",
            "MISFORTUNE": str(self.file),
            "FULL_DISK": str(self.disk),
        }

    def strike(self, clock_seconds: int = 0, disk_full: bool = False) -> None:
        """From now on, in all processes."""
        with self.file.open("r+b" if self.file.exists() else "wb") as shared:
            shared.write(struct.pack("qq", clock_seconds, disk_full))

    def end(self) -> None:
        """The clock is right and the disk has room."""
        self.strike()


@dataclass
class House:
    """Where campaigns run: three nodes of one core, an object store behind a proxy, and somebody who takes notes."""

    folder: Path
    storage: ObjectStorage
    proxy: FaultyProxy
    misfortune: Misfortune
    plan: pa.Table
    environment: dict[str, str]
    pictures: dict[str, bytes] = field(default_factory=dict)  # of the undisturbed campaign, by film id
    cluster: Any = None  # ray.cluster_utils.Cluster, once it is started

    def start(self) -> None:
        """Starts the cluster, and runs a campaign that nothing disturbs."""
        with _environment(self.environment):
            self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.add_nodes()
        self.environment["RAY_ADDRESS"] = self.cluster.address
        self.misfortune.disk.mkdir()
        undisturbed = Round(self, "nothing", 0, str(self.misfortune.disk / "undisturbed"))
        undisturbed.finish(undisturbed.start())
        self.pictures = undisturbed.pictures()

    def mend(self) -> None:
        """Three nodes, a server, a clock and a disk for the next round."""
        self.misfortune.end()
        if self.storage.process is None:
            self.storage.start()
        self.add_nodes()

    def add_nodes(self) -> None:
        """Makes them three again. Ray's processes have the environment of the process that starts them."""
        with _environment(self.environment):
            while len(self.cluster.worker_nodes) < NODES - 1:
                self.cluster.add_node(num_cpus=1)

    def workers(self, kind: str) -> list[int]:
        """Process ids of Ray's workers whose title, which says what they do, holds a word."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                title = (folder / "cmdline").read_bytes()
                if title.startswith(b"ray::") and kind.encode() in title and self._is_ours(folder):
                    found.append(int(folder.name))
            except OSError:  # it ended meanwhile
                continue
        return found

    def logs(self) -> str:
        """The end of what Ray's workers wrote."""
        folder = Path(self.cluster.head_node.get_session_dir_path()) / "logs"
        files = sorted(folder.glob("worker-*.err"), key=lambda file: file.stat().st_mtime)[-6:]
        return "\n".join(f"--- {file.name}\n{file.read_text()[-1500:]}" for file in files)

    def _is_ours(self, process: Path) -> bool:
        return f"WITNESS_NOTES={self.environment['WITNESS_NOTES']}".encode() in (process / "environ").read_bytes()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Has these values in the environment while the context lasts."""
    saved = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


@contextmanager
def house(folder: Path) -> Iterator[House]:
    """A house that is taken down with the context."""
    storage = ObjectStorage(folder / "object storage")
    misfortune, notes = Misfortune(folder), folder / "notes"
    notes.touch()
    try:
        storage.start()
        storage.filesystem().create_dir(BUCKET)
        with before(storage.endpoint) as proxy:
            environment = storage.environment | misfortune.environment
            environment |= {"AWS_ENDPOINT_URL": proxy.endpoint, "WITNESS_NOTES": str(notes)}
            environment["PYTHONPATH"] = os.pathsep.join([str(TESTS / "witness"), str(TESTS.parent)])
            home = House(folder, storage, proxy, misfortune, slow_plan(), environment)
            pq.write_table(home.plan, folder / "plan.parquet")
            with _environment(storage.environment):  # this process speaks to the server itself
                try:
                    home.start()
                    yield home
                finally:
                    if home.cluster is not None:
                        home.cluster.shutdown()
    finally:
        storage.stop()


@dataclass(frozen=True)
class Outcome:
    """What a round cost."""

    misfortune: str
    seed: int
    seconds: float
    lost: int  # films of the plan that are not in the store
    twice: int  # films that are there twice
    differ: int  # pictures unlike those of the undisturbed campaign
    again: int  # simulations that a calm campaign would not have made
    needless: int  # of these, of films that were committed before
    touched: int  # files committed before the misfortune that are not the same any more
    found: list[str]  # what else verify found
    said: list[str]  # what the drivers said, but for the lines that count films
    noise: int  # lines on standard output, where nobody of us writes

    @property
    def wrong(self) -> list[str]:
        """What must not be, in words."""
        counts = {
            "films are lost": self.lost,
            "films are there twice": self.twice,
            "pictures differ": self.differ,
            "films were committed, and simulated again": self.needless,
            "committed files were touched": self.touched,
            "tracebacks": sum("Traceback" in line for line in self.said),
        }
        return [f"{count} {what}" for what, count in counts.items() if count] + self.found


@dataclass(frozen=True)
class _Seen:
    """What was committed when a misfortune came, and how many films had been simulated."""

    notes: int
    files: dict[str, tuple[int, int | None]]  # size and time, ns
    films: set[str]


class Round:
    """One campaign and what befalls it."""

    def __init__(self, home: House, misfortune: str, seed: int, store: str) -> None:
        self.home, self.misfortune, self.seed, self.store = home, misfortune, seed, store
        self.random = random.Random(f"{misfortune} {seed}")
        self.begin, self.drivers = time.monotonic(), 0
        self.log = self._file(0, "log")
        self.log.touch()
        self.notes_before = len(self._notes())
        self.seen: list[_Seen] = []

    def start(self) -> subprocess.Popen[bytes]:
        """A driver. What it says goes to files."""
        self.drivers += 1
        with self._file(self.drivers, "out").open("wb") as out, self._file(self.drivers, "err").open("wb") as err:
            return subprocess.Popen(
                [sys.executable, "-c", DRIVER, str(self.home.folder / "plan.parquet"), self.store, str(self.log)],
                stdout=out,
                stderr=err,
                env={**os.environ, **self.home.environment},
                start_new_session=True,
            )

    def finish(self, driver: subprocess.Popen[bytes], *codes: int) -> None:
        """Waits until a driver ends with one of the exit codes, 0 if none is given."""
        try:
            code = driver.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()
            self.fail("the campaign hangs")
        if code not in (codes or (0,)):
            self.fail(f"the driver ended with {code}")

    def fail(self, why: str) -> None:
        """Raises AssertionError with all that was said."""
        raise AssertionError(
            f"{self.misfortune}, seed {self.seed}: {why}\n{self.words('out')}\n{self.words()}\n{self.home.logs()}"
        )

    def moment(self, driver: subprocess.Popen[bytes], first: int = 1, last: int = FILMS // BLOCK_FILMS - 6) -> None:
        """Waits until some files, `first` to `last` of them, are committed, and a little longer."""
        files, end = self.random.randint(first, last), time.monotonic() + DEADLINE
        while len(self.files()) < files and driver.poll() is None:
            if time.monotonic() > end:
                self.fail("nothing is committed")
            time.sleep(0.02)
        time.sleep(self.random.uniform(0, 0.3))
        if driver.poll() is not None:
            self.fail("it ended before the misfortune")

    def middle_of_work(self, driver: subprocess.Popen[bytes]) -> None:
        """Waits until some films, at most half of them, are simulated: commits begin late, with processes of theirs."""
        films, end = self.random.randint(1, FILMS // 2), time.monotonic() + DEADLINE
        while len(self._notes()) - self.notes_before < films:
            if driver.poll() is not None or time.monotonic() > end:
                self.fail("no films are simulated")
            time.sleep(0.02)

    def remember(self) -> None:
        """Takes note of what a driver knows to be committed; to be called before each misfortune.

        A file that is in the store, but of which no driver knows, may be written again: with the same bytes.
        """
        known = {event["file"]: event["films"] for event in self.events() if event["event"] == "committed"}
        files = {name: about for name, about in self.files().items() if name in known}
        self.seen.append(_Seen(len(self._notes()), files, {film_id for films in known.values() for film_id in films}))

    def events(self) -> list[dict[str, Any]]:
        """The log of all drivers."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def files(self) -> dict[str, tuple[int, int | None]]:
        """Size and time of each file of films."""
        place = locate(self.store)
        selector = fs.FileSelector(place.path, allow_not_found=True)
        found = place.filesystem.get_file_info(selector)
        return {info.base_name: (info.size, info.mtime_ns) for info in found if info.base_name.startswith("films-")}

    def pictures(self) -> dict[str, bytes]:
        """The pictures in the store by film id."""
        store = open_store(self.store)
        ids = store.table(["film_id"])["film_id"].to_pylist()
        return dict(zip(ids, map(bytes, store.images(ids)), strict=True))

    def words(self, stream: str = "err") -> str:
        """All that the drivers said on standard error, or on standard output, "out"."""
        return "".join(self._file(number, stream).read_text() for number in range(1, self.drivers + 1))

    def outcome(self) -> Outcome:
        """Counts what is in the store now, and what it took."""
        store = open_store(self.store)
        report = verify(store, self.home.plan)
        pictures = self.pictures()
        times = Counter(self._notes()[self.notes_before :])
        needless, touched = 0, 0
        now = self.files()
        for seen in self.seen:
            needless += sum(film_id in seen.films for film_id in self._notes()[seen.notes :])
            touched += sum(now.get(name) != about for name, about in seen.files.items())
        lines = [line for line in self.words().splitlines() if line and not line.startswith("films ")]
        return Outcome(
            misfortune=self.misfortune,
            seed=self.seed,
            seconds=time.monotonic() - self.begin,
            lost=len(report.missing),
            twice=len(report.duplicate),
            differ=sum(pictures.get(film_id) != picture for film_id, picture in self.home.pictures.items()),
            again=sum(times.values()) - len(times),
            needless=needless,
            touched=touched,
            found=report.truncated + report.foreign,
            said=lines,
            noise=len(self.words("out").splitlines()),
        )

    def _notes(self) -> list[str]:
        return Path(self.home.environment["WITNESS_NOTES"]).read_text().split()

    def _file(self, driver: int, stream: str) -> Path:
        return self.home.folder / f"{self.misfortune}-{self.seed}-driver-{driver}.{stream}".replace(" ", "-")


def play(home: House, misfortune: str, seed: int, object_store: bool | None = None) -> Outcome:
    """A round in the house. object_store: the store is a bucket; None: the misfortune or its seed decides.

    Raises AssertionError if a driver hangs or ends in another way than it should.
    """
    name = f"{misfortune}-{seed}".replace(" ", "-")
    if object_store is None:
        object_store = misfortune in IN_BUCKETS or (misfortune not in ON_DISKS and seed % 2 == 1)
    store = f"s3://{BUCKET}/{name}" if object_store else str(home.misfortune.disk / name)
    game = Round(home, misfortune, seed, store)
    try:
        MISFORTUNES[misfortune](game)
    finally:
        home.mend()
    return game.outcome()


def _kill_worker(game: Round, driver: subprocess.Popen[bytes], kind: str) -> None:
    """Kills one of Ray's workers while it does what its title says."""
    end = time.monotonic() + DEADLINE
    while not (found := game.home.workers(kind)):
        if driver.poll() is not None or time.monotonic() > end:
            game.fail(f"nobody does {kind}")
        time.sleep(0.005)
    game.remember()
    os.kill(game.random.choice(found), signal.SIGKILL)


def _actor(game: Round) -> None:
    driver = game.start()
    game.middle_of_work(driver)
    _kill_worker(game, driver, "FilmSimulator")
    game.finish(driver)


def _commit(game: Round) -> None:
    driver = game.start()
    game.moment(driver)
    _kill_worker(game, driver, "Committer")
    game.finish(driver)


def _kill_node(game: Round) -> None:
    game.remember()
    cluster = game.home.cluster
    node = game.random.choice(sorted(cluster.worker_nodes, key=lambda node: node.unique_id))
    (raylet,) = node.all_processes["raylet"]
    raylet.process.kill()
    cluster.remove_node(node, allow_graceful=False)


def _node(game: Round) -> None:
    driver = game.start()
    game.moment(driver)
    _kill_node(game)
    game.finish(driver)


def _kill_driver(game: Round, driver: subprocess.Popen[bytes]) -> None:
    game.remember()
    driver.kill()
    driver.wait()


def _driver(game: Round) -> None:
    driver = game.start()
    game.moment(driver)
    _kill_driver(game, driver)
    game.finish(game.start())


def _kill_server(game: Round) -> None:
    game.remember()
    game.home.storage.kill()
    time.sleep(game.random.uniform(0, 4))
    game.home.storage.start()


def _server(game: Round) -> None:
    driver = game.start()
    game.moment(driver)
    _kill_server(game)
    game.finish(driver)


def _everything(game: Round) -> None:
    """An actor; a commit, a node and the server in some order; and then the driver."""
    driver = game.start()
    game.middle_of_work(driver)
    _kill_worker(game, driver, "FilmSimulator")
    strikes: list[Callable[[], None]] = [
        lambda: _kill_worker(game, driver, "Committer"),
        lambda: _kill_node(game),
        lambda: _kill_server(game),
    ]
    game.random.shuffle(strikes)
    for files, strike in enumerate(strikes, 1):
        game.moment(driver, files, files)
        strike()
    _kill_driver(game, driver)
    game.finish(game.start())


def _misbehave(game: Round, driver: subprocess.Popen[bytes], fault: Fault, seconds: float) -> None:
    game.remember()
    game.home.proxy.misbehave(fault, seconds)
    end = time.monotonic() + seconds
    while time.monotonic() < end and driver.poll() is None:
        time.sleep(0.1)


def _fault(fault: Fault) -> Callable[[Round], None]:
    def minute(game: Round) -> None:
        driver = game.start()
        game.moment(driver)
        _misbehave(game, driver, fault, 60)
        game.finish(driver)

    return minute


def _moods(game: Round) -> None:
    """The three faults one after the other, for some seconds each."""
    driver = game.start()
    for files, fault in enumerate[Fault](("InternalError", "SlowDown", "silence"), 1):
        game.moment(driver, files, files)
        _misbehave(game, driver, fault, 3)
    game.finish(driver)


def _full_disk(game: Round) -> None:
    driver = game.start()
    game.moment(driver)
    game.remember()
    game.home.misfortune.strike(disk_full=True)
    game.finish(driver, 2)
    if "no room left" not in game.words():
        game.fail("it does not say that the disk is full")
    game.home.misfortune.end()
    game.finish(game.start())


def _clock(game: Round) -> None:
    driver = game.start()
    game.moment(driver)
    game.remember()
    game.home.misfortune.strike(clock_seconds=-game.random.choice([600, 3600, 86400 * 365]))
    game.finish(driver)
    times = [event["time"] for event in game.events()]
    if times == sorted(times):
        game.fail("no clock was set back")


def _damage(game: Round) -> None:
    """A file is cut short and two are put in: verify names them; a campaign refuses, and mends what is deleted."""
    shutil.copytree(game.home.misfortune.disk / "undisturbed", game.store)
    store = Path(game.store)
    torn = game.random.choice(sorted(store.glob("films-*.parquet")))
    intact = game.random.choice(sorted(set(store.glob("films-*.parquet")) - {torn}))
    strangers = [store / "films-0123456789abcdef01234567.parquet", store / "notes.txt"]
    os.truncate(torn, game.random.randrange(torn.stat().st_size))
    strangers[0].write_bytes(intact.read_bytes())
    strangers[1].write_text("not of a store")
    report = verify(open_store(game.store), game.home.plan)
    named = {line.split(" ", 1)[0] for line in (*report.truncated, *report.foreign)}
    if report.ok or named != {file.name for file in (torn, *strangers)}:
        game.fail(f"verify found {report.lines}")
    game.finish(game.start(), 2)
    for file in (torn, *strangers):
        file.unlink()
    game.remember()
    game.finish(game.start())


def _two_drivers(game: Round) -> None:
    """One refuses, or comes when the other is done."""
    game.remember()
    first = game.start()
    time.sleep(game.random.uniform(0, 1))
    second = game.start()
    game.finish(first, 0, 2)
    game.finish(second, 0, 2)
    if first.returncode and second.returncode:
        game.fail("both refuse")


MISFORTUNES: dict[str, Callable[[Round], None]] = {
    "actor killed": _actor,
    "commit killed": _commit,
    "node killed": _node,
    "driver killed": _driver,
    "server killed": _server,
    "all of them": _everything,
    "S3 in moods": _moods,
    "S3 500": _fault("InternalError"),
    "S3 SlowDown": _fault("SlowDown"),
    "S3 silent": _fault("silence"),
    "disk full": _full_disk,
    "clock set back": _clock,
    "files damaged": _damage,
    "two drivers": _two_drivers,
}
IN_BUCKETS = {"server killed", "all of them", "S3 in moods", "S3 500", "S3 SlowDown", "S3 silent"}
ON_DISKS = {"disk full", "files damaged"}
