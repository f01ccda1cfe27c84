"""Run cases in worker processes, so that a crash or a hang costs one input."""

import contextlib
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.cases import KINDS, Case, Specimen, cases
from tests.fuzz.contract import BYTES, SECONDS, broken, estimate
from tests.fuzz.specimen import PICTURE, config_files, picture_files, project_files

BATCH = 40  # inputs of a kind that a worker draws with one seed
OWN_PROCESS = 200  # of so many inputs one runs in a process of its own
SPARE_BYTES = 4_000_000_000  # beyond what a worker begins with: a bomb must not take the machine with it


@dataclass(frozen=True)
class Finding:
    """A case and the promise that it broke."""

    case: Case
    promise: str


@dataclass
class Results:
    """Numbers of inputs by kind, and the smallest case of every broken promise."""

    tried: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)
    seconds: float = 0.0
    lock: Any = field(default_factory=Lock, repr=False)

    def add(self, case: Case, promises: Iterable[str]) -> None:
        """Count a case, and keep it if it is the smallest that broke a promise."""
        with self.lock:
            self.tried[case.kind] += 1
            for promise in promises:
                known = self.findings.get((case.kind, promise))
                if known is None or _size(case) < _size(known.case):
                    self.findings[case.kind, promise] = Finding(case, promise)


def attack(inputs: int, seconds: float, first_seed: int, workers: int) -> Results:
    """Try `inputs` of all kinds, for `seconds` at most."""
    results, begin = Results(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="magray-fuzz-") as name, _bare_environment(Path(name)):
        folder = Path(name)
        specimen = Specimen(project_files(folder / "project"), config_files(), picture_files())
        batches = iter(sorted(_batches(inputs, first_seed), key=lambda batch: batch[1]))  # of all kinds by turns
        with ThreadPoolExecutor(workers) as pool:
            watched = [
                pool.submit(_watch, folder / str(n), specimen, batches, begin + seconds, results)
                for n in range(workers)
            ]
            for one in as_completed(watched):
                one.result()
    results.seconds = time.monotonic() - begin
    return results


def _batches(inputs: int, first_seed: int) -> Iterator[tuple[str, float, int, int]]:
    """Return kind, place among all (0…1), seed, and size of each batch."""
    for kind, (_, share) in KINDS.items():
        count = max(1, round(inputs * share))
        for first in range(0, count, BATCH):
            yield kind, first / count, first_seed * 1_000_003 + first, min(BATCH, count - first)


def _watch(folder: Path, specimen: Specimen, batches: Iterator[Any], end: float, results: Results) -> None:
    """Send batches to a worker, and replace a worker that ended."""
    worker = None
    for kind, _, number, count in batches:
        while count > 0 and time.monotonic() < end:
            worker = worker or _Worker(folder, specimen)
            done, crashed = worker.run(kind, number, count, results)
            if crashed:
                worker = None
            count, number = count - done, number + 500_000_009  # other inputs than those that were tried
    if worker:
        worker.stop()


class _Worker:
    """A process that tries batches of cases."""

    def __init__(self, folder: Path, specimen: Specimen) -> None:
        self.connection, there = get_context("spawn").Pipe()
        self.process = get_context("spawn").Process(target=_work, args=(there, folder, specimen), daemon=True)
        self.process.start()
        there.close()
        self.connection.recv()  # it is ready

    def run(self, kind: str, number: int, count: int, results: Results) -> tuple[int, bool]:
        """Run a batch; return the number of cases, and whether the worker crashed at the last one."""
        self.connection.send((kind, number, count))
        done, case, begin = 0, None, time.monotonic()
        while True:
            if self.connection.poll(0.05):
                try:
                    message = self.connection.recv()
                except EOFError:
                    self.process.join()
                    return self._crashed(results, case, done, f"the process died, exit code {self.process.exitcode}")
                if message is None:
                    return done, False
                if isinstance(message, Case):
                    case, begin = message, time.monotonic()
                elif case is not None:
                    results.add(case, message)
                    done, case = done + 1, None
            elif case is not None and time.monotonic() - begin > SECONDS + 5:
                return self._crashed(results, case, done, f"it takes more than {SECONDS:g} s")
            elif self._bytes() > BYTES * 1.5:
                return self._crashed(results, case, done, f"it takes more than {BYTES / 1e9:g} GB")

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()

    def _crashed(self, results: Results, case: Case | None, done: int, promise: str) -> tuple[int, bool]:
        self.stop()
        if case is None:
            raise RuntimeError(f"between two inputs, {promise}")
        results.add(case, [promise])
        return done + 1, True

    def _bytes(self) -> float:
        with contextlib.suppress(OSError, IndexError):
            return float(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return 0.0


def _work(connection: Connection, folder: Path, specimen: Specimen) -> None:
    """Draw and run cases of batches until there are no more."""
    prepare()
    reference = estimate(folder / "reference", specimen.pictures[PICTURE])
    connection.send("ready")
    number = 0
    while True:
        kind, first_seed, count = connection.recv()

        @seed(first_seed)
        @settings(
            max_examples=count,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(cases(kind, specimen))
        def try_case(case: Case) -> None:
            nonlocal number
            number += 1
            connection.send(case)
            connection.send(broken(case, folder / "box", number % OWN_PROCESS == 0, reference))

        try_case()
        connection.send(None)


def prepare() -> None:
    """Limit the memory of this process, and what commands can do in it, to reading inputs."""
    import ray.data  # registers Arrow types that run code
    import torch

    from magray.errors import UserError
    from magray.store import lease

    def refuse(*_: Any, **__: Any) -> None:
        raise UserError("no cluster is started here")

    ray.init = refuse  # type: ignore[assignment]
    lease.BEAT, lease.EXPIRY, lease.CONTEST = 0.02, 0.06, 0.01
    torch.set_num_threads(1)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + SPARE_BYTES, used + SPARE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdin.close()


@contextlib.contextmanager
def _bare_environment(home: Path) -> Iterator[None]:
    """Return an environment without a cluster, credentials or the user's home."""
    saved = dict(os.environ)
    for name in saved:
        if name.startswith(("RAY_", "AWS_")):
            del os.environ[name]
    os.environ |= {"HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "80", "NO_COLOR": "1"}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


def _size(case: Case) -> int:
    return sum(map(len, case.files.values()))
