"""Films per second when every film has a thickness of its own, beside the rate of films of one thickness.

    python -m benchmarks.mixed_films --backend cupy --films 4800 --cells 256

The same materials in both (`benchmarks.films.any_film`), minimised to 3e-4 Ms in at most 3,000 field evaluations. One
JSON line a set: films and field evaluations per second, and how many films did not converge.
"""

import argparse
import json
import time
from collections.abc import Callable

from benchmarks.films import any_film, one_thickness
from magray import Film, Minimize, Protocol
from magray.micromagnetics import FilmSolver

PROTOCOL = Protocol(stages=(Minimize(torque=3e-4, max_evaluations=3000),))
SETS: dict[str, Callable[[int, int, Protocol], Film]] = {"one thickness": one_thickness, "any thickness": any_film}


def rates(solver: FilmSolver, films: list[Film]) -> dict[str, float]:
    """Return films and evaluations per second over `films`, and the number of those that did not converge."""
    start, evaluations, failed = time.perf_counter(), 0, 0
    for film in solver.stream(films):
        evaluations += film.evaluations
        failed += not film.converged
    seconds = time.perf_counter() - start
    return {
        "films/s": round(len(films) / seconds, 2),
        "evaluations/s": round(evaluations / seconds),
        "not converged": failed,
    }


def main() -> None:
    """Print a JSON line for each set of films."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=("cupy", "cpu"), default="cupy")
    parser.add_argument("--films", type=int, default=4800)
    parser.add_argument("--cells", type=int, default=256, help="along one side")
    options = parser.parse_args()
    solver = FilmSolver(options.backend)
    list(solver.stream([one_thickness(options.cells, 0, PROTOCOL)]))  # compiles
    for name, make in SETS.items():
        films = [make(options.cells, seed, PROTOCOL) for seed in range(1, 1 + options.films)]
        print(json.dumps({"films": name, **rates(solver, films)}), flush=True)


if __name__ == "__main__":
    main()
