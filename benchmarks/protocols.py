"""The cost of a film by its protocol: evaluations, seconds, and the energy in which it ends.

    python -m benchmarks.protocols --backend cpu --cells 128 --films 4

Co-like films, each protocol with the same seeds. One JSON line a protocol.
"""

import argparse
import json
import statistics
import time

from benchmarks.films import co_like
from magray import Demagnetise, Minimize, Protocol, Quench, Uniform, relax
from magray.units import MU0

ALTERNATING = Demagnetise(0.8 / MU0, 0.02 / MU0, (1.0, 0.0, 0.1), ratio=0.8)
PROTOCOLS = {
    "minimize": Protocol(),
    "quench 1 ns": Protocol(stages=(Quench(0.5, 1e-9),)),
    "quench 1 ns at 300 K, minimize": Protocol(stages=(Quench(0.5, 1e-9, 300.0), Minimize())),
    "demagnetise in the plane, minimize": Protocol(Uniform((0, 0, 1)), (ALTERNATING, Minimize())),
}


def main() -> None:
    """Print a line for each protocol."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=["cpu", "cupy"], default="cpu")
    parser.add_argument("--cells", type=int, default=128)
    parser.add_argument("--films", type=int, default=4)
    given = parser.parse_args()
    for name, protocol in PROTOCOLS.items():
        start = time.perf_counter()
        done = relax([co_like(given.cells, seed, protocol) for seed in range(given.films)], given.backend)
        seconds = (time.perf_counter() - start) / given.films
        mz = [abs(float(film.m[2].mean())) for film in done if film.m is not None]
        figures = {
            "protocol": name,
            "evaluations, median": statistics.median(film.evaluations for film in done),
            "evaluations, most": max(film.evaluations for film in done),
            "converged": sum(film.converged for film in done),
            "seconds a film": round(seconds, 3),
            "mean energy, kJ/m3": round(statistics.mean(film.energy["total"] for film in done) * 1e-3, 2),
            "mean |mz|": round(statistics.mean(mz), 3),
        }
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
