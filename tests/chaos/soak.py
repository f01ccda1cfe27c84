"""Kill every command at random moments, have the same command go on to its end, and look at what it leaves.

    python -m tests.chaos.soak --kills 200 --seed 1
    python -m tests.chaos.soak --only fit "store compact" --kills 20

Small projects of 16 films run as shells run them, most on one warm Ray cluster, each tenth on one of their own. A
signal (SIGKILL, SIGTERM, SIGINT) comes after a random time, or as soon as a random one of the command's files has
appeared. Afterwards the same command must end with 0 and leave what an undisturbed run leaves: the same films but for
rounding, the same weights and tables bit for bit, the same answer, a report, and nothing besides. What fell is kept in
runs/soak.
Ends with exit code 1 if anything fell.
"""

import argparse
import json
import math
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.chaos.rounds import DEADLINE
from tests.support.configs import tiny_project

ROOT = Path(__file__).parents[2]
MAGRAY = [sys.executable, "-c", "import sys; from magray.__main__ import main; sys.exit(main())"]
SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
OF_OWN = 10  # each so manieth command starts a Ray cluster of its own
UNFINISHED = re.compile(r"(\.tmp|\.unfinished)(/|$)|/\.work(/|$)|/_driver\.json$")
TIMES = {"seconds", "device", "machine", "made", "id"}  # what differs between any two runs

FIT = """\
train_scales: ["0.5", "0.4"], epochs: 3, views_per_epoch: 32, batch: 16, symmetries: all, checkpoint_epochs: 1,
      calibration_fraction: 0.2, seed: 1"""
SEARCH = """\
project: one.yaml
output: search
tolerance: 0.9
views: [32, 64]
trials: 2
learning_rates: [1.0e-3, 2.0e-3]
scales: [0.4, 0.5]
most_scales: 2
test_scales: [0.4, 0.5]
seeds: 1
"""
PROTOCOLS = """\
projects: [one.yaml, two.yaml]
output: protocols
train_set: "0.4+0.5"
epochs: 1
seeds: 1
test_scales: [0.4, 0.5]
"""
FIGURE = """\
figure: "1"
project: ../one.yaml
panels: [{name: a, train: "0.5", test: [0.5], paper: works}]
"""
CONFIGS = {
    "one.yaml": tiny_project("one", 7, FIT, [0.4, 0.5]),
    "two.yaml": tiny_project("two", 8, FIT, [0.4, 0.5], picoseconds=30),
    "search.yaml": SEARCH,
    "protocols.yaml": PROTOCOLS,
    "studies/fig1.yaml": FIGURE,
}


@dataclass(frozen=True)
class Command:
    """A command, the one at whose end it begins, and its share of 200 kills."""

    words: str
    after: str
    share: int
    done: str = ""  # what it says, with exit code 2, if all was done before


COMMANDS = {
    "plan": Command("plan one.yaml", "", 10),
    "simulate": Command("simulate one.yaml", "plan", 30),
    "fit": Command("fit one.yaml", "simulate", 30),
    "study": Command("study one.yaml", "fit", 15),
    "quickstart": Command("quickstart --config one.yaml", "simulate", 30),
    "estimate": Command(
        "estimate one/report/held_out_film.png --estimator one/estimator --scale-um 0.5", "quickstart", 5
    ),
    "report": Command("report one.yaml", "study", 15),
    "store compact": Command("store compact one/store", "simulate", 15),
    "store export": Command("store export one/store pictures", "simulate", 10, "is not empty"),
    "search": Command("search search.yaml", "simulate", 10),
    "paper": Command(
        "paper . --results results", "fit", 15
    ),  # simulates, fits and studies on the way, and tells causes
    "simulate two": Command("simulate two.yaml", "simulate", 5),
    "protocols": Command("protocols protocols.yaml", "simulate two", 10),
}


@dataclass(frozen=True)
class Undisturbed:
    """The files, output and time of a command that is not disturbed."""

    folder: Path
    said: str
    seconds: float
    changes: int  # of files, as they were noticed


class Soak:
    """A folder for commands, one and the same folder, so that paths are the same each time."""

    def __init__(self, folder: Path, seed: int, address: str) -> None:
        self.folder, self.work, self.seed, self.address = folder, folder / "work", seed, address
        self.undisturbed: dict[str, Undisturbed] = {}

    def calm(self, name: str) -> Undisturbed:
        """Return the command's undisturbed run, after first those of the commands before it."""
        if name not in self.undisturbed:
            self._lay_out(COMMANDS[name].after)
            begin = time.monotonic()
            process = self._start(name, self.address)
            changes = self._wait(process)
            if process.returncode:
                raise RuntimeError(f"undisturbed, {name} ends with {process.returncode}: {self._said('err')}")
            kept = self.folder / f"after {name}"
            shutil.copytree(self.work, kept)
            self.undisturbed[name] = Undisturbed(kept, self._said("out"), time.monotonic() - begin, changes)
        return self.undisturbed[name]

    def cycle(self, name: str, number: int) -> tuple[int, list[str]]:
        """Kill a command up to three times and let it end; return the number of kills, and what is wrong then."""
        calm, chance = self.calm(name), random.Random(f"{self.seed} {name} {number}")
        address = "" if number % OF_OWN == OF_OWN - 1 else self.address
        self._lay_out(COMMANDS[name].after)
        wrong, kills = [], 0
        for _ in range(chance.choice([1, 1, 2, 3])):
            process, moment = self._start(name, address), _moment(chance, calm)
            self._wait(process, *moment)
            if process.poll() is None:
                kills += 1
                wrong += self._signal(process, chance.choice(SIGNALS))
        process = self._start(name, address)
        self._wait(process, DEADLINE)
        if process.poll() is None:
            process.kill()
            process.wait()
            wrong.append("it hangs")
        elif process.returncode and not (COMMANDS[name].done and COMMANDS[name].done in self._said("err")):
            wrong.append(f"run again, it ends with {process.returncode}: {self._said('err').strip()[-300:]}")
        else:
            wrong += differences(calm.folder, self.work)
            if name == "estimate" and self._said("out") != calm.said:
                wrong.append("the answer is another")
        return kills, wrong

    def keep(self, name: str, number: int, into: Path) -> Path:
        """Move what is in the folder now to where it can be looked at."""
        kept = into / f"{name}-{self.seed}-{number}".replace(" ", "-")
        shutil.rmtree(kept, ignore_errors=True)
        into.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.work, kept)
        for stream in ("out", "err"):
            shutil.copy(self.folder / stream, kept / f"last.{stream}")
        return kept

    def _lay_out(self, after: str) -> None:
        """Lay out the folder as the command `after` leaves it; with the configs alone, if there is none."""
        before = self.calm(after).folder if after else None
        shutil.rmtree(self.work, ignore_errors=True)
        if before:
            shutil.copytree(before, self.work)
            return
        for name, text in CONFIGS.items():
            (self.work / name).parent.mkdir(parents=True, exist_ok=True)
            (self.work / name).write_text(text, encoding="utf-8")

    def _start(self, name: str, address: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        environment.pop("RAY_ADDRESS", None)
        if address:
            environment["RAY_ADDRESS"] = address
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            command = [*MAGRAY, *COMMANDS[name].words.split()]
            return subprocess.Popen(
                command, cwd=self.work, stdout=out, stderr=err, env=environment, start_new_session=True
            )

    def _wait(self, process: subprocess.Popen[bytes], seconds: float = math.inf, changes: float = math.inf) -> int:
        """Wait until a process ends, for so many seconds or changes of files. Returns the changes."""
        begin, count, before = time.monotonic(), 0, _census(self.work)
        while process.poll() is None and time.monotonic() - begin < seconds and count < changes:
            time.sleep(0.004)
            now = _census(self.work)
            count, before = count + len(now - before), now
        return count

    def _signal(self, process: subprocess.Popen[bytes], what: signal.Signals) -> list[str]:
        """Send the signal; return what is wrong with how the process ends."""
        process.send_signal(what)
        try:
            code = process.wait(DEADLINE / 4)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return [f"{what.name}: it does not end"]
        said = self._said("err")
        if what == signal.SIGKILL:
            return []
        last = (said.strip().splitlines() or [""])[-1][:200]
        wrong = [f"{what.name}: exit code {code}: {last}"] if code not in (0, 130, 143, -what) else []
        if ("Traceback" in said and f"{os.sep}magray{os.sep}" in said) or "*** SIG" in said:  # not while Python starts
            wrong.append(f"{what.name}: {last}")
        return wrong

    def _said(self, stream: str) -> str:
        return (self.folder / stream).read_text(errors="replace")


def differences(calm: Path, work: Path) -> list[str]:
    """Return the differences of a folder from an undisturbed run's."""
    there, here = _tree(calm), _tree(work)
    wrong = [f"left over: {name}" for name in sorted(here) if UNFINISHED.search(f"/{name}")]
    wrong += [f"missing: {name}" for name in sorted(there - here) if not UNFINISHED.search(f"/{name}")]
    wrong += [
        f"more than there should be: {name}" for name in sorted(here - there) if not UNFINISHED.search(f"/{name}")
    ]
    return wrong + [f"differs: {name}" for name in sorted(there & here) if not alike(calm / name, work / name)]


def alike(calm: Path, work: Path) -> bool:
    """Return whether two files say the same."""
    if calm.name.startswith("films-"):
        return films_alike(_rows(calm), _rows(work))
    if calm.name == "search.parquet":
        return trials_alike(_rows(calm), _rows(work))
    if calm.name == "search.png":
        return work.stat().st_size > 0  # of its trials
    return bool(content_of(calm) == content_of(work))


def films_alike(calm: pa.Table, work: pa.Table) -> bool:
    """Return whether two tables hold the same films: sums are rounded as their memory lies, so not bit for bit."""
    if calm.schema != work.schema or calm.num_rows != work.num_rows:
        return False
    for name, column in zip(calm.column_names, calm.columns, strict=True):
        if pa.types.is_floating(column.type):
            same = np.allclose(column.to_numpy(), work[name].to_numpy(), rtol=1e-4, atol=0, equal_nan=True)
        elif name == "image":
            both = [np.frombuffer(b"".join(table[name].to_pylist()), np.uint8).astype(int) for table in (calm, work)]
            same = both[0].shape == both[1].shape and np.abs(both[0] - both[1]).sum() < 1e-3 * both[0].size
        else:
            same = column.equals(work[name])
        if not same:
            return False
    return True


def trials_alike(calm: pa.Table, work: pa.Table) -> bool:
    """Return whether two searches have as many trials, and those in common the same errors as far as both trained.

    The rest is chance: trials run side by side, ASHA stops one by what the others have shown until then, and what is
    proposed next depends on what has ended.
    """
    results = ("trial", "step", "status", "views", "worst", "worst_scale", "curve", "errors")

    def curves(trials: pa.Table) -> dict[str, list[float]]:
        settings = [name for name in trials.column_names if name not in results]
        return {repr([row[name] for name in settings]): row["curve"] for row in trials.to_pylist()}

    there, here = curves(calm), curves(work)
    common = [(there[trial], here[trial]) for trial in there.keys() & here.keys()]
    same = all(repr(one[: len(other)]) == repr(other[: len(one)]) for one, other in common)
    return same and calm.num_rows == work.num_rows


def content_of(path: Path) -> Any:
    """Return what must be the same in two runs: everything but times and the device."""
    if path.suffix in (".html", ".jsonl", ".md"):
        return path.stat().st_size > 0
    if path.suffix == ".parquet":
        return repr(_rows(path).to_pylist())  # in which NaN is the same as NaN
    if path.suffix == ".json":
        return repr(_timeless(json.loads(path.read_text(encoding="utf-8"))))
    return path.read_bytes()


def _rows(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read([name for name in file.schema_arrow.names if name not in TIMES])


def _timeless(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _timeless(value) for name, value in sorted(tree.items()) if name not in TIMES}
    return [_timeless(value) for value in tree] if isinstance(tree, list) else tree


def _tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _census(folder: Path) -> set[tuple[str, int]]:
    """Return files with their times of change."""
    found = set()
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                found.add((f"{place}/{name}", os.stat(f"{place}/{name}").st_mtime_ns))  # noqa: PTH116  (hundreds of times a second)
            except FileNotFoundError:
                continue
    return found


def _moment(chance: random.Random, calm: Undisturbed) -> tuple[float, float]:
    """Return seconds and changes of files after which a signal comes: half of them as soon as some file has changed."""
    if calm.changes and chance.random() < 0.5:
        return math.inf, chance.randint(1, calm.changes)
    return chance.uniform(0, calm.seconds), math.inf


@contextmanager
def warm_cluster() -> Iterator[str]:
    """Run a Ray cluster of two cores on loopback, with a token; yield its address."""
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "PYTHONPATH": str(ROOT)}
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=2"]
    command += [f"--port={port}", "--node-ip-address=127.0.0.1", "--include-dashboard=false", "--disable-usage-stats"]
    cluster = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        health = [command[0], "health-check", f"--address=127.0.0.1:{port}"]
        while subprocess.run(health, capture_output=True, check=False).returncode:
            time.sleep(0.5)
        yield f"127.0.0.1:{port}"
    finally:
        cluster.terminate()
        cluster.wait()


def soak(kills: int, seed: int, names: list[str], folder: Path, into: Path) -> bool:
    """Kill so often, spread over the commands by their shares; print what fell. Returns whether anything did."""
    killed, fell, shares = Counter[str](), Counter[str](), sum(COMMANDS[name].share for name in names)
    with warm_cluster() as address:
        one = Soak(folder, seed, address)
        for name in names:
            wanted, number = max(1, round(kills * COMMANDS[name].share / shares)), 0
            while killed[name] < wanted and number < 3 * wanted:
                count, wrong = one.cycle(name, number)
                killed[name] += count
                if wrong:
                    fell[name] += 1
                    print(f"{name} {number}: {'; '.join(wrong)}\n    {one.keep(name, number, into)}", flush=True)
                number += 1
            print(f"{name:14} {killed[name]:4} kills in {number} cycles, {fell[name]} fell", flush=True)
    print(f"{killed.total()} kills, {fell.total()} fell")
    return bool(fell)


def main() -> None:
    """Soak all commands, or some."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS), metavar="COMMAND")
    parser.add_argument("--folder", type=Path, default=Path("runs/soak"), help="where what fell is kept")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background ignores, children too
    with tempfile.TemporaryDirectory(prefix="magray-soak-") as folder:
        sys.exit(soak(options.kills, options.seed, options.only, Path(folder), options.folder.resolve()))


if __name__ == "__main__":
    main()
