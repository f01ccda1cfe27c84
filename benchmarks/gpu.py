"""What one GPU does: copy bandwidth, field evaluations, iterations of the minimiser, films per second with refill.

    python benchmarks/gpu.py --sizes 128 256 512 1024 --films 512

Times by CUDA events after a warm-up, medians over runs, films drawn anew for every size.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import cupy as cp
import numpy as np

from benchmarks.solver import co_like
from magray import Minimize
from magray.micromagnetics import FilmSolver
from magray.micromagnetics.gpu.batch import ITERATIONS, Batch, film_record
from magray.micromagnetics.gpu.solver import CELLS


def milliseconds(run: Callable[[], object], stream: cp.cuda.Stream, runs: int = 20) -> float:
    """Median time of `run` on the stream, after three warm-ups."""
    times = []
    for i in range(runs + 3):
        start, end = cp.cuda.Event(), cp.cuda.Event()
        start.record(stream)
        run()
        end.record(stream)
        end.synchronize()
        if i >= 3:
            times.append(cp.cuda.get_elapsed_time(start, end))
    return float(statistics.median(times))


def copy_bandwidth() -> float:
    """TB/s, bytes read and bytes written, of a 2 GiB copy on the device."""
    source = cp.random.default_rng(0).random(2**29, dtype=np.float32)
    target = cp.empty_like(source)
    stream = cp.cuda.get_current_stream()
    return float(2 * source.nbytes) / milliseconds(lambda: cp.copyto(target, source), stream) / 1e9


def passes(n: int) -> dict[str, float]:
    """µs per film and pass over a full batch of n × n cells, from random starts."""
    slots = max(8, CELLS // n**2)
    batch = Batch((n, n), (4e-9, 4e-9, 4e-9), slots)
    stage = Minimize(torque=1e-9, max_evaluations=2**30)
    microseconds = 1e3 / slots
    batch.begin({slot: film_record(co_like(n, slot), stage) for slot in range(slots)})
    with batch.stream:
        field = milliseconds(lambda: batch.field(1), batch.stream)  # of a fresh start: without the minimiser's products
        demag = milliseconds(lambda: batch.fourier.demag(batch.m[1], batch.h, batch.reports), batch.stream)
        rows = milliseconds(lambda: batch.fourier._forward(batch.m[1]), batch.stream)
    for _ in range(4):
        batch.launch()
    with batch.stream:
        products = milliseconds(lambda: batch.field(1), batch.stream)
        precondition = milliseconds(
            lambda: batch.fourier.precondition(batch.h, batch.w[0], batch.films, batch.reports), batch.stream
        )
        iteration = milliseconds(batch.launch, batch.stream) / ITERATIONS
    return {
        "slots": slots,
        "field": field * microseconds,
        "demag": demag * microseconds,
        "cuFFT forward": rows * microseconds,
        "field with products": products * microseconds,
        "precondition": precondition * microseconds,
        "iteration": iteration * microseconds,
        "GB": cp.get_default_memory_pool().used_bytes() / 1e9,
    }


def films(n: int, count: int) -> dict[str, float]:
    """Films minimised per second from random starts to 1e-4 Ms, with refill."""
    solver = FilmSolver("cupy")
    list(solver.stream([co_like(n, 10**6 + seed) for seed in range(max(8, CELLS // n**2))]))
    plan = [co_like(n, seed) for seed in range(count)]
    start = time.perf_counter()
    done = list(solver.stream(plan))
    seconds = time.perf_counter() - start
    return {
        "films/s": count / seconds,
        "evaluations, median": statistics.median(film.evaluations for film in done),
        "evaluations, most": max(film.evaluations for film in done),
        "not converged": sum(not film.converged for film in done),
        "mean energy, J/m3": statistics.mean(film.energy["total"] for film in done),
    }


def main() -> None:
    """Prints one JSON line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512, 1024], help="cells along one side")
    parser.add_argument("--films", type=int, default=512, help="films to relax at each size")
    arguments = parser.parse_args()
    print(json.dumps({"copy, TB/s": copy_bandwidth()}), flush=True)
    for n in arguments.sizes:
        print(json.dumps({"cells": n, **passes(n)}), flush=True)
        print(json.dumps({"cells": n, **films(n, arguments.films)}), flush=True)


if __name__ == "__main__":
    main()
