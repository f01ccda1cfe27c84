"""A campaign with a fault, and the count of its cost."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import fs

from magray.store import Store, open_store, verify
from magray.store.layout import folder_of, is_film_file, path_of
from magray.store.location import locate
from tests.chaos.cluster import CAMPAIGN, FILMS, ChaosCluster

BLOCK_FILMS = 2
DEADLINE = 240.0  # seconds; whatever takes longer hangs

DRIVER = f"""
import sys
from pathlib import Path
import pyarrow.parquet as pq
from magray.campaign.run import run_campaign
from magray.config import SimulateConfig
from magray.errors import UserError
try:
    plan, log = pq.read_table(sys.argv[1]), Path(sys.argv[3])
    run_campaign(plan, sys.argv[2], SimulateConfig(block_films={BLOCK_FILMS}), campaign="{CAMPAIGN}", log=log)
except UserError as error:
    print(f"UserError: {{error}}", file=sys.stderr)
    sys.exit(2)
"""


@dataclass(frozen=True)
class RoundResult:
    """The cost of a round."""

    fault: str
    seed: int
    seconds: float
    lost: int  # films of the plan that are not in the store
    twice: int  # films that are there twice
    differ: int  # pictures unlike those of films that are simulated without Ray
    again: int  # simulations that a calm campaign would not have made
    needless: int  # of these, of films that were committed before
    touched: int  # files committed before the fault that are not the same any more
    found: list[str]  # what else verify found
    said: list[str]  # what the drivers said, but for the lines that count films
    noise: int  # lines on standard output, where nobody of us writes

    @property
    def wrong(self) -> list[str]:
        """The violations of what a campaign promises, for people."""
        counts = {
            "films are lost": self.lost,
            "films are there twice": self.twice,
            "pictures differ": self.differ,
            "films were committed, and simulated again": self.needless,
            "committed files were touched": self.touched,
            "tracebacks": sum("Traceback" in line for line in self.said),
        }
        return [f"{count} {what}" for what, count in counts.items() if count] + self.found


def pictures_in(store: Store) -> dict[str, bytes]:
    """Return the pictures in a store by film id."""
    ids = store.table(["film_id"])["film_id"].to_pylist()
    return dict(zip(ids, map(bytes, store.images(ids)), strict=True))


@dataclass(frozen=True)
class _Seen:
    """The files committed before a fault, and the number of films simulated by then."""

    notes: int
    files: dict[str, tuple[int, int | None]]  # size and time, ns
    films: set[str]


class Round:
    """One campaign and the fault that it is tested with."""

    def __init__(self, chaos: ChaosCluster, fault: str, seed: int, store: str) -> None:
        self.chaos, self.fault, self.seed, self.store = chaos, fault, seed, store
        self.random = random.Random(f"{fault} {seed}")
        self.begin, self.drivers = time.monotonic(), 0
        self.log = self._file(0, "log")
        self.log.touch()
        self.notes_before = len(self._notes())
        self.seen: list[_Seen] = []

    def start(self) -> subprocess.Popen[bytes]:
        """Start a driver, whose output goes to files."""
        self.drivers += 1
        with self._file(self.drivers, "out").open("wb") as out, self._file(self.drivers, "err").open("wb") as err:
            return subprocess.Popen(
                [sys.executable, "-c", DRIVER, str(self.chaos.folder / "plan.parquet"), self.store, str(self.log)],
                stdout=out,
                stderr=err,
                env={**os.environ, **self.chaos.environment},
                start_new_session=True,
            )

    def finish(self, driver: subprocess.Popen[bytes], *codes: int) -> None:
        """Wait until a driver ends with one of the exit codes, 0 if none is given."""
        try:
            code = driver.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()
            self.fail("the campaign hangs")
        if code not in (codes or (0,)):
            self.fail(f"the driver ended with {code}")

    def fail(self, why: str) -> None:
        """Raise AssertionError with all that was said."""
        raise AssertionError(
            f"{self.fault}, seed {self.seed}: {why}\n{self.words('out')}\n{self.words()}\n{self.chaos.logs()}"
        )

    def moment(self, driver: subprocess.Popen[bytes], first: int = 1, last: int = FILMS // BLOCK_FILMS - 6) -> None:
        """Wait until some files, `first` to `last` of them, are committed, and a little longer."""
        files, end = self.random.randint(first, last), time.monotonic() + DEADLINE
        while len(self.files()) < files and driver.poll() is None:
            if time.monotonic() > end:
                self.fail("nothing is committed")
            time.sleep(0.02)
        time.sleep(self.random.uniform(0, 0.3))
        if driver.poll() is not None:
            self.fail("it ended before the fault")

    def middle_of_work(self, driver: subprocess.Popen[bytes]) -> None:
        """Wait until some films, at most half of them, are simulated: commits begin late, with processes of theirs."""
        films, end = self.random.randint(1, FILMS // 2), time.monotonic() + DEADLINE
        while len(self._notes()) - self.notes_before < films:
            if driver.poll() is not None or time.monotonic() > end:
                self.fail("no films are simulated")
            time.sleep(0.02)

    def remember(self) -> None:
        """Note what a driver knows to be committed; to be called before each fault.

        A file that is in the store, but of which no driver knows, may be written again: with the same bytes.
        """
        known = {event["file"]: event["films"] for event in self.events() if event["event"] == "committed"}
        files = {name: about for name, about in self.files().items() if name in known}
        self.seen.append(_Seen(len(self._notes()), files, {film_id for films in known.values() for film_id in films}))

    def events(self) -> list[dict[str, Any]]:
        """Return the log of all drivers."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def files(self) -> dict[str, tuple[int, int | None]]:
        """Return the size and time of each file of films."""
        place = locate(self.store)
        selector = fs.FileSelector(place.file(folder_of(1)), allow_not_found=True)
        found = place.filesystem.get_file_info(selector)
        return {
            path_of(1, info.base_name): (info.size, info.mtime_ns) for info in found if is_film_file(info.base_name)
        }

    def words(self, stream: str = "err") -> str:
        """Return what the drivers wrote to standard error, or on standard output, "out"."""
        return "".join(self._file(number, stream).read_text() for number in range(1, self.drivers + 1))

    def outcome(self) -> RoundResult:
        """Return what is in the store now, and what it took."""
        store = open_store(self.store)
        report = verify(store, self.chaos.plan)
        pictures = pictures_in(store)
        times = Counter(self._notes()[self.notes_before :])
        needless, touched = 0, 0
        now = self.files()
        for seen in self.seen:
            needless += sum(film_id in seen.films for film_id in self._notes()[seen.notes :])
            touched += sum(now.get(name) != about for name, about in seen.files.items())
        lines = [line for line in self.words().splitlines() if line and not line.startswith("films ")]
        return RoundResult(
            fault=self.fault,
            seed=self.seed,
            seconds=time.monotonic() - self.begin,
            lost=len(report.missing),
            twice=len(report.duplicate),
            differ=sum(pictures.get(film_id) != picture for film_id, picture in self.chaos.pictures.items()),
            again=sum(times.values()) - len(times),
            needless=needless,
            touched=touched,
            found=report.truncated + report.foreign,
            said=lines,
            noise=len(self.words("out").splitlines()),
        )

    def _notes(self) -> list[str]:
        return Path(self.chaos.environment["PROBE_NOTES"]).read_text().split()

    def _file(self, driver: int, stream: str) -> Path:
        return self.chaos.folder / f"{self.fault}-{self.seed}-driver-{driver}.{stream}".replace(" ", "-")
