"""Cost of a campaign beside its physics: the driver's memory and rate over a long plan; S3 beside a local disk.

    python -m benchmarks.campaign memory --films 1000000
    python -m benchmarks.campaign stores --films 20000
    python -m benchmarks.campaign stores --films 20000 --store s3://bucket/prefix

Everything is as in a campaign but the solver: a stand-in makes pictures of noise, as large and as often as asked for.
Where no --store is named, the bucket is one of an S3 server (SeaweedFS) that is started on this machine.
"""

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks.films import co_like
from magray.campaign import pipeline
from magray.campaign.run import run_campaign
from magray.config import SimulateConfig
from magray.films import films_of, plan_table
from magray.micromagnetics.result import RelaxedFilm
from magray.runtime.connect import connect
from magray.store import create_store, rows_of, verify
from tests.support.object_storage import running

GB = 1e9
CAMPAIGN = "stand-in"


class StandIn:
    """In the place of FilmSimulator: rows of a block after as long as they would take."""

    seconds_per_film = 0.0

    def __init__(self, backend: str) -> None:
        self.solver, self.random = f"stand-in for {backend}", np.random.default_rng()

    def __call__(self, plan: pa.Table) -> pa.Table:
        end = time.monotonic() + self.seconds_per_film * plan.num_rows
        plan = plan.filter(plan["wanted"]).drop_columns("wanted")
        rows = rows_of([self._relaxed(film) for film in films_of(plan)], plan)
        time.sleep(max(0.0, end - time.monotonic()))
        names = {"simulator": "here:0", "replaced": ""}
        for name, value in names.items():
            rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
        return rows

    def _relaxed(self, film: Any) -> RelaxedFilm:
        nx, ny = film.cells
        m = np.zeros((3, ny, nx), np.float32)
        m[2] = np.repeat(np.repeat(self.random.normal(size=(ny // 8, nx // 8)), 8, axis=0), 8, axis=1)
        return RelaxedFilm(film, m, {"total": 0.0}, 0.0, 400, "converged", "", 0.0, device="none", solver=self.solver)


def plan_of(films: int, side: int) -> pa.Table:
    """`films` Co-like films of side × side cells."""
    return plan_table((co_like(side, seed) for seed in range(films)), CAMPAIGN)


def resident_bytes() -> int:
    """This process's resident memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def memory(films: int, block_films: int, console: Console) -> None:
    """Run a long plan of tiny films and prints the driver's memory as it goes on."""
    plan = plan_of(films, 8)
    with tempfile.TemporaryDirectory() as folder:
        samples: list[tuple[float, int]] = []
        stop = threading.Event()

        def look() -> None:
            while not stop.wait(1.0):
                samples.append((time.monotonic(), resident_bytes()))

        before, start = resident_bytes(), time.monotonic()
        watch = threading.Thread(target=look)
        watch.start()
        try:
            done = run_campaign(plan, f"{folder}/store", SimulateConfig(block_films=block_films), campaign=CAMPAIGN)
        finally:
            stop.set()
            watch.join()
    table = Table(title=f"{films:,} films in blocks of {block_films}: {films / done.seconds:,.0f} films/s")
    table.add_column("after, s")
    table.add_column("driver, GB")
    table.add_row("0, with the plan", f"{before / GB:.2f}")
    for at, resident in samples[:: max(1, len(samples) // 12)]:
        table.add_row(f"{at - start:.0f}", f"{resident / GB:.2f}")
    console.print(table)


def stores(uri: str, films: int, rate: float, rounds: int, console: Console) -> None:
    """The same campaign at a GPU's rate, by one actor, into a folder and into `uri`, in turn."""
    table = Table(title=f"{films:,} pictures of 512² at {rate:g} films/s at most")
    for column in ("store", "films/s", "seconds", "load before", "and after"):
        table.add_column(column)
    StandIn.seconds_per_film = 1 / rate
    plan = plan_of(films, 512)
    with tempfile.TemporaryDirectory() as folder:
        for round_ in range(rounds):
            for name, place in (("local", f"{folder}/{round_}"), (uri, f"{uri}/{round_}")):
                load = os.getloadavg()[0]
                config = SimulateConfig(actors=1, block_films=32)
                done = run_campaign(plan, place, config, campaign=CAMPAIGN, progress=False)
                loads = (f"{load:.1f}", f"{os.getloadavg()[0]:.1f}")
                assert verify(create_store(place, CAMPAIGN, plan), plan).ok
                table.add_row(name, f"{films / done.seconds:.1f}", f"{done.seconds:.1f}", *loads)
    console.print(table)


def stores_here(films: int, rate: float, rounds: int, console: Console) -> None:
    """`stores` with a bucket of a server on this machine."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as storage:
        os.environ |= storage.environment
        storage.filesystem().create_dir(CAMPAIGN)
        connect()
        stores(f"s3://{CAMPAIGN}/films", films, rate, rounds, console)


def main() -> None:
    """Measures what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("memory", "stores"))
    parser.add_argument("--films", type=int, default=1_000_000)
    parser.add_argument("--block-films", type=int, default=64)
    parser.add_argument("--store", help="of stores: s3://bucket/prefix")
    parser.add_argument("--rate", type=float, default=76.0, help="of stores: films/s of the stand-in")
    parser.add_argument("--rounds", type=int, default=2, help="of stores: campaigns into each of the two")
    given = parser.parse_args()
    vars(pipeline)["FilmSimulator"] = StandIn
    if given.what == "memory":
        connect()
        memory(given.films, given.block_films, Console())
    elif given.store:
        connect()
        stores(given.store, given.films, given.rate, given.rounds, Console())
    else:
        stores_here(given.films, given.rate, given.rounds, Console())


if __name__ == "__main__":
    main()
