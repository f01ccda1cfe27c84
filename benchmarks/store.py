"""Time of resuming, verifying, compacting, listing and exporting a large store.

    python -m benchmarks.store --films 1000000

Makes a store of drawn pictures, as many films a file as a campaign on a GPU commits, measures, compacts, and measures
again. Each measurement is a process of its own: seconds on the clock, seconds of processor, and peak memory.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.films import co_like
from magray.files.atomic import read_table, write_table
from magray.films import plan_table
from magray.films.plan import PLAN_SCHEMA
from magray.store import STORE_SCHEMA, compact, create_store, export_pictures, open_store, verify
from magray.store.schema import ENERGY_TERMS

CAMPAIGN = "benchmark"
PROCESSES = 2
PLAN_BLOCK = 6400  # films that a process makes at a time

Measured = tuple[float, float, float]  # seconds, processor seconds, peak MB


def planned(first: int, films: int, side: int) -> pa.Table:
    """The plan of films whose seeds are `first`, `first` + 1 …"""
    return plan_table([co_like(side, seed) for seed in range(first, first + films)], CAMPAIGN)


def answered(plan: pa.Table, side: int) -> pa.Table:
    """Rows of the store for a plan: wavy pictures that compress like relaxed ones, and energies out of the air."""
    films = plan.num_rows
    random = np.random.default_rng(plan["seed"][0].as_py())
    wave = 8 * np.sin(2 * np.pi * np.arange(side) / side * 4 + random.uniform(0, 6, (films, 1)))
    mz = np.tanh(wave[:, :, None] + random.normal(0, 0.2, (films, 1, side)))
    pictures = np.rint((mz + 1) * 127.5).astype(np.uint8)
    answer = {
        "image": pa.array([picture.tobytes() for picture in pictures], pa.binary()),
        **{name: pa.array(np.full(films, side, np.int32)) for name in ("height", "width")},
        "pixel_nm": pa.array(np.full(films, 4.0)),
        **{f"energy_{term}": pa.array(random.normal(0, 1e5, films)) for term in ENERGY_TERMS},
        "max_torque": pa.array(random.uniform(0, 1e-4, films)),
        "evaluations": pa.array(random.integers(400, 900, films)),
        "status": pa.array(["converged"] * films),
        "reason": pa.array([""] * films),
        "solver": pa.array(["drawn"] * films),
        "device": pa.array(["none"] * films),
        "seconds": pa.array(random.uniform(0, 1, films)),
        "loop": pa.nulls(films, STORE_SCHEMA.field("loop").type),
    }
    columns = {name: plan[name] for name in plan.column_names} | answer
    return pa.table([columns[name] for name in STORE_SCHEMA.names], schema=STORE_SCHEMA)


def fill(uri: str, plan: pa.Table, side: int, films_per_file: int) -> None:
    """Commits a part of the plan, file by file."""
    store = open_store(uri)
    for first in range(0, plan.num_rows, films_per_file):
        store.commit(answered(plan.slice(first, films_per_file), side))


def make(folder: Path, films: int, side: int, films_per_file: int) -> None:
    """A complete store and its plan in `folder`."""
    block = PLAN_BLOCK // films_per_file * films_per_file
    sizes = [(first, min(block, films - first)) for first in range(0, films, block)]
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        parts = list(pool.map(partial(planned, side=side), *zip(*sizes, strict=True)))
        plan = pa.concat_tables(parts)
        write_table(plan, folder / "plan.parquet")
        store = create_store(str(folder / "store"), CAMPAIGN, plan)
        list(pool.map(partial(fill, store.uri, side=side, films_per_file=films_per_file), parts))


def resume(folder: Path) -> None:
    """Do what `magray simulate` does before it knows that nothing is missing."""
    plan = read_table(folder / "plan.parquet", PLAN_SCHEMA)
    store = create_store(str(folder / "store"), CAMPAIGN, plan)
    assert store.missing(plan).num_rows == 0


def status(folder: Path) -> None:
    """Read what `magray store show` reads."""
    assert open_store(str(folder / "store")).table(["status"]).num_rows


def check(folder: Path, with_plan: bool) -> None:
    """`magray store verify`."""
    plan = read_table(folder / "plan.parquet", PLAN_SCHEMA) if with_plan else None
    assert verify(open_store(str(folder / "store")), plan).ok


def pick(folder: Path) -> None:
    """100 pictures from all over the store."""
    store, plan = open_store(str(folder / "store")), read_table(folder / "plan.parquet", PLAN_SCHEMA, ["film_id"])
    store.images(plan["film_id"].take(np.linspace(0, plan.num_rows - 1, 100).astype(int)).to_pylist())


def merge(folder: Path) -> None:
    """`magray store compact`, without its lease."""
    compact(open_store(str(folder / "store")))


def export(folder: Path) -> None:
    """`magray store export`."""
    export_pictures(open_store(str(folder / "store")), folder / "pictures")


def in_a_process(do: Callable[[Path], None], folder: Path) -> Measured:
    """`do` in a fresh process, imports not counted."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_measured, do, folder).result()


def _measured(do: Callable[[Path], None], folder: Path) -> Measured:
    start, processor = time.perf_counter(), time.process_time()
    do(folder)
    return time.perf_counter() - start, time.process_time() - processor, _peak_mb()


def _peak_mb() -> float:
    """Return the peak memory of this process: getrusage may return its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


READS: dict[str, Callable[[Path], None]] = {
    "resume": resume,
    "status": status,
    "100 pictures": pick,
    "verify with the plan": partial(check, with_plan=True),
    "verify without": partial(check, with_plan=False),
}


def main() -> None:
    """Print a row for each measurement as it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=1_000_000)
    parser.add_argument("--side", type=int, default=8, help="cells along one side of a picture")
    parser.add_argument("--films-per-file", type=int, default=64, help="as committed")
    parser.add_argument("--export", type=int, default=20_000, help="films of a second store, to export")
    parser.add_argument("--folder", type=Path, help="where to make the stores; a temporary folder otherwise")
    films, side, films_per_file, exported, parent = vars(parser.parse_args()).values()
    print(f"{films:,} films of {side}²")
    print(f"{'':28}{'files':>8}{'seconds':>10}{'processor s':>13}{'peak MB':>9}{'films/s':>10}")

    def tell(what: str, folder: Path, count: int, do: Callable[[Path], None]) -> None:
        files = len(open_store(str(folder / "store")).files())
        seconds, processor, peak = in_a_process(do, folder)
        numbers = f"{files:>8,}{seconds:>10.1f}{processor:>13.1f}{peak:>9,.0f}{count / seconds:>10,.0f}"
        print(f"{what:28}{numbers}", flush=True)

    folder = Path(tempfile.mkdtemp(prefix="store-", dir=parent))
    try:
        (folder / "export").mkdir()
        make(folder, films, side, films_per_file)
        make(folder / "export", min(exported, films), side, films_per_file)
        for what, do in READS.items():
            tell(what, folder, films, do)
        tell("export as PNG", folder / "export", min(exported, films), export)
        tell("compact", folder, films, merge)
        for what, do in READS.items():
            tell(f"{what}, compact", folder, films, do)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
