"""Time from an actor's start to its first film, part by part, on a new machine and on one that ran before.

    python -m benchmarks.actor_start --backend cupy --cells 256

Every start is a process of its own. On a new machine nothing is compiled: the caches of CuPy and Numba are empty ones
then, which the next starts find filled. One JSON line a start, in seconds; "imports" begins with the interpreter,
and is without Ray's own, which an actor's process has behind it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.films import co_like


class Stopwatch:
    """Seconds of each part, since the process was asked for."""

    def __init__(self, begun: float) -> None:
        self.begun = self.last = begun
        self.parts: dict[str, float] = {}

    def split(self, part: str) -> None:
        now = time.time()
        self.parts[part], self.last = round(now - self.last, 2), now
        self.parts["total"] = round(now - self.begun, 2)


def start(backend: str, n: int, watch: Stopwatch) -> None:
    """Do what an actor does until its first film, and one film of other cells after that."""
    import magray.store  # noqa: F401 - what it imports is part of the start
    from magray.micromagnetics import FilmSolver

    watch.split("imports")
    solver = FilmSolver(backend, threads=1)
    film = co_like(n, 0)
    if backend == "cupy":
        _start_gpu(solver, film, watch)
    else:
        from magray.micromagnetics.demag_tensor import fourier_tensor

        fourier_tensor(film.cells, film.cell_size, film.open_axes)
        watch.split("tensor")
    list(solver.stream([film]))
    watch.split("first film")


def _start_gpu(solver: Any, film: Any, watch: Stopwatch) -> None:
    import cupy as cp

    from magray.micromagnetics.gpu.batch import RUNNING, film_record, kernels
    from magray.micromagnetics.queue import CELLS

    cp.zeros(1)
    cp.cuda.Device().synchronize()
    watch.split("device")
    kernels(film)
    watch.split("kernels")
    batch = solver.gpu._batch(film, CELLS)
    cp.cuda.Device().synchronize()
    watch.split("arrays")
    batch.begin({0: film_record(film)})
    batch.reports_now()
    watch.split("tensor and start")
    batch.launch(RUNNING)
    batch.reports_now()
    watch.split("graph")


def measured(backend: str, n: int, environment: dict[str, str]) -> dict[str, float]:
    """The parts of one start in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.actor_start", "--backend", backend, "--cells", str(n)]
    command += ["--begun", repr(time.time())]
    done = subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True, text=True)
    parts: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return parts


def main() -> None:
    """Print one JSON line a start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=["cpu", "cupy"], default="cupy")
    parser.add_argument("--cells", type=int, default=256, help="along one side")
    parser.add_argument("--begun", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.begun:
        watch = Stopwatch(arguments.begun)
        start(arguments.backend, arguments.cells, watch)
        print(json.dumps(watch.parts))
        return
    with tempfile.TemporaryDirectory() as folder:
        caches = {"CUPY_CACHE_DIR": f"{folder}/cupy", "NUMBA_CACHE_DIR": f"{folder}/numba"}
        for machine in ("new", "ran before", "ran before"):
            parts = measured(arguments.backend, arguments.cells, caches)
            facts = {"backend": arguments.backend, "cells": arguments.cells, "machine": machine}
            print(json.dumps(facts | parts), flush=True)


if __name__ == "__main__":
    main()
