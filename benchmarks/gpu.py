"""Measure one GPU: copy bandwidth, passes over full and partial batches, films per second by protocol with refill.

    python -m benchmarks.gpu --sizes 128 256 512 1024 2048 --films 512

Times by CUDA events after a warm-up, medians over runs, films drawn anew for every size. One JSON line a measurement.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial

import cupy as cp
import numpy as np

from benchmarks.films import MATERIALS, MINIMIZED, QUENCHED, any_film, co_like, one_thickness
from magray import Film, Minimize, Protocol, Quench
from magray.films.protocol import Stage
from magray.micromagnetics import FilmSolver
from magray.micromagnetics.gpu.batch import ITERATIONS, QUENCHING, RUNNING, Batch, film_record
from magray.micromagnetics.queue import CELLS

FIELD_BYTES = 88  # a cell: rows 24, columns 24, rows back with the force 40; each array once in every pass


def milliseconds(run: Callable[[], object], stream: cp.cuda.Stream, runs: int = 20) -> float:
    """Return the median time of `run` on the stream, after three warm-ups."""
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
    """Return TB/s, bytes read and bytes written, of a 2 GiB copy on the device."""
    source = cp.random.default_rng(0).random(2**29, dtype=np.float32)
    target = cp.empty_like(source)
    stream = cp.cuda.get_current_stream()
    return float(2 * source.nbytes) / milliseconds(lambda: cp.copyto(target, source), stream) / 1e9


def filled(n: int, slots: int, stage: Stage, make: Callable[..., Film] = co_like) -> Batch:
    """Return a batch of random starts, of Co-like films unless `make` makes others, each about to begin `stage`."""
    batch = Batch(make(n, 0), slots)
    protocol = Protocol(stages=(stage,))
    batch.begin({slot: film_record(make(n, slot, protocol)) for slot in range(slots)})
    return batch


def passes(n: int, slots: int, bandwidth: float, make: Callable[..., Film] = co_like) -> dict[str, float]:
    """Return µs per film and pass over a batch of n × n cells, from random starts."""
    batch = filled(n, slots, Minimize(torque=1e-9, max_evaluations=10**9), make)
    microseconds = 1e3 / slots
    with batch.stream:
        field = milliseconds(lambda: batch.field(1), batch.stream)  # of a fresh start: without the minimiser's products
        arrays = (batch.m[1], batch.h, batch.films, batch.reports)
        demag = milliseconds(lambda: batch.fourier.demag(*arrays, RUNNING), batch.stream)
    for _ in range(4):
        batch.launch(RUNNING)
    with batch.stream:
        products = milliseconds(lambda: batch.field(1), batch.stream)
        precondition = milliseconds(
            lambda: batch.fourier.precondition(batch.h, batch.w[0], batch.films, batch.reports), batch.stream
        )
        iteration = milliseconds(lambda: batch.launch(RUNNING), batch.stream) / ITERATIONS
    used = cp.get_default_memory_pool().used_bytes()
    per_film = field * microseconds
    return {
        "slots": slots,
        "field": per_film,
        "evaluations/s": 1e6 / per_film,
        "share of copy bandwidth": FIELD_BYTES * n**2 / per_film / 1e6 / bandwidth,
        "demag": demag * microseconds,
        "field with products": products * microseconds,
        "precondition": precondition * microseconds,
        "iteration": iteration * microseconds,
        "bytes a cell": used / slots / n**2,
        "MB a slot": used / slots / 1e6,
    }


def quench(n: int, slots: int) -> dict[str, float]:
    """Return µs per film of an outer step of one inner step, and of each further inner step."""
    stage = Quench(alpha=0.5, duration=1e-6)
    times = {}
    for parts in (1, 7):
        batch = filled(n, slots, stage)
        records = {slot: film_record(co_like(n, slot, Protocol(stages=(stage,)))) for slot in range(slots)}
        for record in records.values():
            record["parts"], record["single"], record["ramp"] = parts, 0, 1
        batch.begin(records)
        launch = partial(batch.launch, QUENCHING, parts)
        times[parts] = milliseconds(launch, batch.stream) / ITERATIONS * 1e3 / slots
    return {"outer step of 1": times[1], "each further inner step": (times[7] - times[1]) / 6}


def films(n: int, count: int, material: str, protocol: Protocol) -> dict[str, float]:
    """Return films per second from random starts through the protocol, with refill."""
    make, solver = MATERIALS[material], FilmSolver("cupy")
    warm_up = Protocol(stages=(Minimize(torque=0.5),))
    list(solver.stream([make(n, 10**6 + seed, warm_up) for seed in range(max(8, CELLS // n**2))]))
    plan = [make(n, seed, protocol) for seed in range(count)]
    start = time.perf_counter()
    done = list(solver.stream(plan))
    seconds = time.perf_counter() - start
    return {
        "films": count,
        "films/s": count / seconds,
        "evaluations, median": statistics.median(film.evaluations for film in done),
        "evaluations, most": max(film.evaluations for film in done),
        "not converged": sum(film.status == "not_converged" for film in done),
        "failed": sum(film.status == "failed" for film in done),
        "mean energy, J/m3": statistics.mean(film.energy["total"] for film in done if film.energy),
    }


def thicknesses(n: int, slots: int, bandwidth: float) -> None:
    """Print the passes over slots that share one tensor, over slots with one each, and what it takes to make those."""
    for make, name in ((one_thickness, "one thickness"), (any_film, "any thickness")):
        show(cells=n, films=name, **passes(n, slots, bandwidth, make))
    batch, kinds = Batch(co_like(n, 0), slots), iter(range(10**6))
    for count in (1, slots):
        start = time.perf_counter()
        new = {slot: (1.0, 1.0, 0.02 + 0.98 / (1 + next(kinds)), 1.0) for slot in range(count)}
        with batch.stream:
            batch.fourier.tensors.assign(new)
        batch.stream.synchronize()
        show(cells=n, tensors=count, **{"ms a tensor": 1e3 * (time.perf_counter() - start) / count})


def show(**figures: object) -> None:
    """Print one JSON line."""
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}), flush=True)


def main() -> None:
    """Print one JSON line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512, 1024, 2048], help="cells a side")
    parser.add_argument("--slots", type=int, nargs="+", default=[], help="slots to try at 512², beside a full batch")
    parser.add_argument("--thicknesses", action="store_true", help="compare films of one thickness with those of any")
    parser.add_argument("--films", type=int, default=0, help="films to relax at each size, by each protocol")
    arguments = parser.parse_args()
    bandwidth = copy_bandwidth()
    show(**{"copy, TB/s": bandwidth})
    for n in arguments.sizes:
        slots = max(8, CELLS // n**2)
        show(cells=n, **passes(n, slots, bandwidth), **quench(n, slots))
        if arguments.thicknesses:
            thicknesses(n, slots, bandwidth)
        for protocol, name in ((MINIMIZED, "minimize to 1e-4 Ms"), (QUENCHED, "quench 2 ns")):
            for material in MATERIALS if arguments.films else ():
                show(cells=n, material=material, protocol=name, **films(n, arguments.films, material, protocol))
    for slots in arguments.slots:
        show(cells=512, **passes(512, slots, bandwidth))


if __name__ == "__main__":
    main()
