"""The faults that a campaign is tested with, each in a round.

A round starts a campaign in a process of its own, injects one fault at a moment that its seed decides, has
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

from magray.campaign.pipeline import blocks_of
from magray.campaign.simulator import FilmSimulator
from magray.store import Store, create_store, open_store, verify
from tests.chaos.cluster import BUCKET, CAMPAIGN, ChaosCluster
from tests.chaos.rounds import BLOCK_FILMS, DEADLINE, Round, RoundResult, pictures_in
from tests.support.s3_faults import Fault
from tests.support.stores import wanting

UNDISTURBED = "undisturbed"


def play(chaos: ChaosCluster, fault: str, seed: int, object_store: bool | None = None) -> RoundResult:
    """Return the result of a round. The first comes after the same films without Ray, whose pictures all must have.

    object_store: the store is a bucket; None: the fault or its seed decides.
    Raises AssertionError if a driver hangs or ends in another way than it should.
    """
    if not chaos.pictures:
        chaos.pictures = pictures_in(_undisturbed(chaos))
    name = f"{fault}-{seed}".replace(" ", "-")
    if object_store is None:
        object_store = fault in IN_BUCKETS or (fault not in ON_DISKS and seed % 2 == 1)
    store = f"s3://{BUCKET}/{name}" if object_store else str(chaos.faults.disk / name)
    round_ = Round(chaos, fault, seed, store)
    try:
        FAULTS[fault](round_)
    finally:
        chaos.repair()
    return round_.outcome()


def _undisturbed(chaos: ChaosCluster) -> Store:
    """Return a store of all films, simulated and committed in this process."""
    store = create_store(str(chaos.faults.disk / UNDISTURBED), CAMPAIGN, chaos.plan)
    simulate = FilmSimulator("cpu")
    for block in blocks_of(wanting(chaos.plan, range(chaos.plan.num_rows)), BLOCK_FILMS):
        store.commit(simulate(block))
    return store


def _kill_worker(round_: Round, driver: subprocess.Popen[bytes], kind: str) -> None:
    """Kill one of Ray's workers while it does what its title says."""
    end = time.monotonic() + DEADLINE
    while not (found := round_.chaos.workers(kind)):
        if driver.poll() is not None or time.monotonic() > end:
            round_.fail(f"nobody does {kind}")
        time.sleep(0.005)
    round_.remember()
    os.kill(round_.random.choice(found), signal.SIGKILL)


def _actor(round_: Round) -> None:
    driver = round_.start()
    round_.middle_of_work(driver)
    _kill_worker(round_, driver, "FilmSimulator")
    round_.finish(driver)


def _commit(round_: Round) -> None:
    driver = round_.start()
    round_.moment(driver)
    _kill_worker(round_, driver, "Committer")
    round_.finish(driver)


def _kill_node(round_: Round) -> None:
    round_.remember()
    cluster = round_.chaos.cluster
    node = round_.random.choice(sorted(cluster.worker_nodes, key=lambda node: node.unique_id))
    (raylet,) = node.all_processes["raylet"]
    raylet.process.kill()
    cluster.remove_node(node, allow_graceful=False)


def _node(round_: Round) -> None:
    driver = round_.start()
    round_.moment(driver)
    _kill_node(round_)
    round_.finish(driver)


def _kill_driver(round_: Round, driver: subprocess.Popen[bytes]) -> None:
    round_.remember()
    driver.kill()
    driver.wait()


def _driver(round_: Round) -> None:
    driver = round_.start()
    round_.moment(driver)
    _kill_driver(round_, driver)
    round_.finish(round_.start())


def _kill_server(round_: Round) -> None:
    round_.remember()
    round_.chaos.storage.kill()
    time.sleep(round_.random.uniform(0, 4))
    round_.chaos.storage.start()


def _server(round_: Round) -> None:
    driver = round_.start()
    round_.moment(driver)
    _kill_server(round_)
    round_.finish(driver)


def _everything(round_: Round) -> None:
    """An actor; a commit, a node and the server in some order; and then the driver."""
    driver = round_.start()
    round_.middle_of_work(driver)
    _kill_worker(round_, driver, "FilmSimulator")
    injections: list[Callable[[], None]] = [
        lambda: _kill_worker(round_, driver, "Committer"),
        lambda: _kill_node(round_),
        lambda: _kill_server(round_),
    ]
    round_.random.shuffle(injections)
    for files, inject in enumerate(injections, 1):
        round_.moment(driver, files, files)
        inject()
    _kill_driver(round_, driver)
    round_.finish(round_.start())


def _misbehave(round_: Round, driver: subprocess.Popen[bytes], fault: Fault, seconds: float) -> None:
    round_.remember()
    round_.chaos.proxy.misbehave(fault, seconds)
    end = time.monotonic() + seconds
    while time.monotonic() < end and driver.poll() is None:
        time.sleep(0.1)


def _fault(fault: Fault) -> Callable[[Round], None]:
    def minute(round_: Round) -> None:
        driver = round_.start()
        round_.moment(driver)
        _misbehave(round_, driver, fault, 60)
        round_.finish(driver)

    return minute


def _moods(round_: Round) -> None:
    """The three faults one after the other, for some seconds each."""
    driver = round_.start()
    for files, fault in enumerate[Fault](("InternalError", "SlowDown", "silence"), 1):
        round_.moment(driver, files, files)
        _misbehave(round_, driver, fault, 3)
    round_.finish(driver)


def _full_disk(round_: Round) -> None:
    driver = round_.start()
    round_.moment(driver)
    round_.remember()
    round_.chaos.faults.inject(disk_full=True)
    round_.finish(driver, 2)
    if "no room left" not in round_.words():
        round_.fail("it does not say that the disk is full")
    round_.chaos.faults.end()
    round_.finish(round_.start())


def _clock(round_: Round) -> None:
    driver = round_.start()
    round_.moment(driver)
    round_.remember()
    in_bucket = round_.store.startswith("s3://")  # S3 refuses requests of a clock that is wrong by more than 15 minutes
    round_.chaos.faults.inject(clock_seconds=-round_.random.choice([600] if in_bucket else [600, 3600, 86400 * 365]))
    round_.finish(driver)
    times = [event["time"] for event in round_.events()]
    if times == sorted(times):
        round_.fail("no clock was set back")


def _damage(round_: Round) -> None:
    """A file is truncated and two are put in: verify names them, a campaign refuses, and replaces what is deleted."""
    shutil.copytree(round_.chaos.faults.disk / UNDISTURBED, round_.store)
    folder = Path(open_store(round_.store).glob).parent
    torn = round_.random.choice(sorted(folder.glob("films-*.parquet")))
    intact = round_.random.choice(sorted(set(folder.glob("films-*.parquet")) - {torn}))
    strangers = [folder / "films-0123456789abcdef01234567.parquet", folder / "notes.txt"]
    os.truncate(torn, round_.random.randrange(torn.stat().st_size))
    strangers[0].write_bytes(intact.read_bytes())
    strangers[1].write_text("not of a store")
    report = verify(open_store(round_.store), round_.chaos.plan)
    named = {line.split(" ", 1)[0] for line in (*report.truncated, *report.foreign)}
    if report.ok or named != {f"{folder.name}/{file.name}" for file in (torn, *strangers)}:
        round_.fail(f"verify found {report.lines}")
    round_.finish(round_.start(), 2)
    for file in (torn, *strangers):
        file.unlink()
    round_.remember()
    round_.finish(round_.start())


def _two_drivers(round_: Round) -> None:
    """One refuses, or comes when the other is done."""
    round_.remember()
    first = round_.start()
    time.sleep(round_.random.uniform(0, 1))
    second = round_.start()
    round_.finish(first, 0, 2)
    round_.finish(second, 0, 2)
    if first.returncode and second.returncode:
        round_.fail("both refuse")


FAULTS: dict[str, Callable[[Round], None]] = {
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
