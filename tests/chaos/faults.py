"""What can befall a campaign, and what must be true of it afterwards.

A round starts a campaign in a process of its own, brings one misfortune over it at a moment that its seed decides, has
the campaign end, and counts what it cost. tests/cluster/test_chaos.py plays one of each;
`python -m benchmarks.survival` prints a table of many.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from magray.store import open_store, verify
from tests.chaos.cluster import BUCKET, House
from tests.chaos.rounds import DEADLINE, Round, StageResult
from tests.support.s3_faults import Fault

UNDISTURBED = "undisturbed"


def play(home: House, misfortune: str, seed: int, object_store: bool | None = None) -> StageResult:
    """A round in the house, the first after a campaign that nothing disturbs, whose pictures all must have.

    object_store: the store is a bucket; None: the misfortune or its seed decides.
    Raises AssertionError if a driver hangs or ends in another way than it should.
    """
    if not home.pictures:
        undisturbed = Round(home, "nothing", 0, str(home.misfortune.disk / UNDISTURBED))
        undisturbed.finish(undisturbed.start())
        home.pictures = undisturbed.pictures()
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
    shutil.copytree(game.home.misfortune.disk / UNDISTURBED, game.store)
    folder = Path(open_store(game.store).glob).parent
    torn = game.random.choice(sorted(folder.glob("films-*.parquet")))
    intact = game.random.choice(sorted(set(folder.glob("films-*.parquet")) - {torn}))
    strangers = [folder / "films-0123456789abcdef01234567.parquet", folder / "notes.txt"]
    os.truncate(torn, game.random.randrange(torn.stat().st_size))
    strangers[0].write_bytes(intact.read_bytes())
    strangers[1].write_text("not of a store")
    report = verify(open_store(game.store), game.home.plan)
    named = {line.split(" ", 1)[0] for line in (*report.truncated, *report.foreign)}
    if report.ok or named != {f"{folder.name}/{file.name}" for file in (torn, *strangers)}:
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
