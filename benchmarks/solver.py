"""Field evaluations per second of a backend, and films per second to the default protocol's tolerance.

    python -m benchmarks.solver --sizes 128 256 512

All cores of this machine, one film a core as in a campaign; all terms (exchange, anisotropy with dispersion, bulk DMI,
demagnetising field of the infinite film). Evaluations: median of repeated runs after a warm-up, on fresh random states.
"""

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import numba
from rich.console import Console
from rich.table import Table

from benchmarks.films import co_like
from magray.micromagnetics import FilmSolver
from magray.micromagnetics.cpu import CpuBackend
from magray.micromagnetics.initial_state import initial_state


def evaluations_per_second(n: int, threads: int, seconds: float = 2.0, runs: int = 5) -> float:
    """Return the median over `runs` of the evaluations per second of `threads` films of n × n cells together."""

    def count(seed: int) -> int:
        film = co_like(n, seed)
        landscape, m, done = CpuBackend(film), initial_state(film), 0
        landscape.evaluate(m)
        end = time.perf_counter() + seconds / runs
        while time.perf_counter() < end:
            landscape.evaluate(m)
            done += 1
        return done

    with ThreadPoolExecutor(threads) as pool:
        rates = [
            sum(pool.map(count, range(run * threads, (run + 1) * threads))) * runs / seconds for run in range(runs)
        ]
    return statistics.median(rates)


def films_per_second(n: int, threads: int, films: int) -> tuple[float, float]:
    """Return the films relaxed per second, and the median of their evaluations."""
    solver = FilmSolver("cpu", threads)
    start = time.perf_counter()
    done = list(solver.stream([co_like(n, seed) for seed in range(films)]))
    return films / (time.perf_counter() - start), statistics.median(film.evaluations for film in done)


def main() -> None:
    """Print one row a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512], help="cells along one side")
    parser.add_argument("--films", type=int, default=8, help="films to relax at each size")
    sizes, films = vars(parser.parse_args()).values()
    threads = numba.get_num_threads()
    table = Table(
        "cells", "evaluations/s", "µs an evaluation", "films/s", "evaluations a film", title=f"cpu, {threads} cores"
    )
    for n in sizes:
        films_per_second(n, threads, 1)  # compile, and make the demagnetising tensor
        rate = evaluations_per_second(n, threads)
        film_rate, evaluations = films_per_second(n, threads, films)
        table.add_row(f"{n}²", f"{rate:,.0f}", f"{1e6 / rate:,.0f}", f"{film_rate:.2f}", f"{evaluations:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
