"""Field evaluations per second of magray and of other codes, for one and the same film, in one run.

    pip install -e '.[dev,peers]' && pip install mumaxplus 'neuralmag[torch]'
    python -m benchmarks.peers --cells 512 --cores 1
    python -m benchmarks.peers --device gpu

A Co-like film (Ms 1500 kA/m, Ku1 1.6 MJ/m³ with σ 0.1, Aex 31 pJ/m, bulk D 0.5 mJ/m², 4 nm cells), periodic, all terms,
single precision, a random state. One code after the other in every round, and ratios within a round, because a machine
that is shared changes its pace; medians over the rounds, after a warm-up that compiles whatever a code compiles.

What an evaluation is: magray's gives the torque, its largest value and the energy, and its demagnetising field is that
of the infinite film; magnum.np's and NeuralMag's gives the effective field alone, with one copy of the film to each
side; mumax+'s is a stage of a Runge-Kutta step. On CPUs every code has the same cores: magray puts one film on each,
the others put all on one film. `--cores 1` is what several processes of a code, one on each core, come to at best. On a
GPU magray has a full batch, the others have one film.
"""

import argparse
import importlib
import math
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from magray import Film
from magray.micromagnetics.cpu import CpuBackend
from magray.micromagnetics.solver import gpu_problem

Run = Callable[[int], int]  # makes about that many evaluations, and says how many


class Missing(Exception):
    """A code that cannot run here, and the reason."""


def co_like(n: int) -> Film:
    """Return a film in the middle of the paper's ranges."""
    constants: dict[str, Any] = {"Ms": 1.5e6, "Ku1": 1.6e6, "Aex": 31e-12, "dmi": "bulk", "D": 0.5e-3, "sigma": 0.1}
    return Film(cells=(n, n), cell_size=(4e-9, 4e-9, 4e-9), seed=1, **constants)


def random_state(film: Film) -> NDArray[np.float32]:
    """Return random unit vectors, (3, ny, nx)."""
    m = np.random.default_rng(0).normal(size=(3, film.cells[1], film.cells[0]))
    return np.asarray(m / np.linalg.norm(m, axis=0), np.float32)


def imported(name: str) -> Any:
    """Return the module. Raises Missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(str(error)) from error


def magray_cpu(film: Film) -> Run:
    """Return runs of `CpuBackend.evaluate`, one thread."""
    landscape, m = CpuBackend(film), random_state(film)

    def run(count: int) -> int:
        for _ in range(count):
            landscape.evaluate(m)
        return count

    return run


def magray_cupy(film: Film) -> Run:
    """Return runs of `Batch.field` of a full batch, without the minimiser's products."""
    if problem := gpu_problem():
        raise Missing(problem)
    from magray.micromagnetics.gpu.batch import Batch, film_record
    from magray.micromagnetics.queue import CELLS

    slots = max(8, CELLS // (film.cells[0] * film.cells[1]))
    batch = Batch(film, slots)
    batch.begin({slot: film_record(film) for slot in range(slots)})

    def run(count: int) -> int:
        times = math.ceil(count / slots)
        with batch.stream:
            for _ in range(times):
                batch.field(1)
        batch.stream.synchronize()
        return times * slots

    return run


def magnum_np(film: Film, device: str) -> Run:
    """Return runs of the sum of its four terms' fields, compiled by torch."""
    os.environ["CUDA_DEVICE"] = "0" if device == "gpu" else "-1"
    magnum, torch = imported("magnumnp"), imported("torch")
    torch.set_default_dtype(torch.float32)
    state = magnum.State(magnum.Mesh((*film.cells, 1), film.cell_size, pbc=(1, 1, 0)))
    ku1 = film.Ku1 * (1 + film.sigma * torch.randn(*film.cells, 1, 1))
    state.material = {"Ms": film.Ms, "Ku": ku1, "Ku_axis": [0.0, 0.0, 1.0], "A": film.Aex, "Db": -film.D}
    state.m = torch.tensor(np.ascontiguousarray(random_state(film).T[:, :, None]))
    terms = [magnum.ExchangeField(), magnum.UniaxialAnisotropyField(), magnum.BulkDMIField(), magnum.DemagField()]

    def run(count: int) -> int:
        for _ in range(count):
            sum(term.h(state) for term in terms)
        return finished(torch, count)

    return run


def neuralmag(film: Film, device: str) -> Run:
    """Return runs of its total field on a plane mesh, compiled by torch; nodal finite differences."""
    os.environ |= {"NM_BACKEND": "torch", "NM_DEVICE": "cuda" if device == "gpu" else "cpu", "NM_DTYPE": "float32"}
    nm, torch = imported("neuralmag"), imported("torch")
    state = nm.State(nm.Mesh(film.cells, film.cell_size, pbc=(1, 1)))
    ku1 = film.Ku1 * (1 + film.sigma * np.random.default_rng(0).normal(size=film.cells))
    state.material.Ms, state.material.A, state.material.Db = film.Ms, film.Aex, film.D
    state.material.Ku = nm.CellFunction(state, tensor=state.tensor(ku1))
    state.material.Ku_axis = [0, 0, 1]
    state.m = nm.VectorFunction(state, tensor=state.tensor(np.ascontiguousarray(random_state(film).T)))
    terms = {
        "exchange": nm.ExchangeField(),
        "anisotropy": nm.UniaxialAnisotropyField(),
        "dmi": nm.BulkDMIField(),
        "demag": nm.DemagField(),
    }
    for name, term in terms.items():
        term.register(state, name)
    nm.TotalField(*terms).register(state)

    def run(count: int) -> int:
        for _ in range(count):
            _ = state.h.tensor  # a property that computes
        return finished(torch, count)

    return run


def mumax_plus(film: Film, device: str) -> Run:
    """Return runs of steps of Fehlberg's method at a fixed length, six evaluations each."""
    if device == "cpu" or gpu_problem():
        raise Missing(f"needs a GPU{': ' + gpu_problem() if device == 'gpu' else ''}")
    mumax = imported("mumaxplus")
    nx, ny = film.cells
    world = mumax.World(film.cell_size, pbc_repetitions=(1, 1, 0), mastergrid=mumax.Grid((nx, ny, 0)))
    magnet = mumax.Ferromagnet(world, mumax.Grid((nx, ny, 1)))
    magnet.msat, magnet.aex, magnet.alpha, magnet.anisU = film.Ms, film.Aex, 0.5, (0, 0, 1)
    magnet.ku1 = film.Ku1 * (1 + film.sigma * np.random.default_rng(0).normal(size=(1, 1, ny, nx)))
    magnet.dmi_tensor.set_bulk_dmi(film.D)
    magnet.magnetization = random_state(film)[:, None]
    world.timesolver.set_method("Fehlberg")
    world.timesolver.adaptive_timestep = False
    world.timesolver.timestep = 1e-15

    def run(count: int) -> int:
        steps = math.ceil(count / 6)
        world.timesolver.steps(steps)
        magnet.magnetization.average()  # waits for the GPU
        return 6 * steps

    return run


def finished(torch: Any, count: int) -> int:
    """Return `count`, once a GPU has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return count


def film_a_core(film: Film, cores: int) -> Run:
    """magray on CPUs: evaluations shared out among so many films, each in a thread of its own."""
    runs = [magray_cpu(film) for _ in range(cores)]
    pool = ThreadPoolExecutor(cores)
    return lambda count: sum(pool.map(lambda run: run(math.ceil(count / cores)), runs))


def contenders(film: Film, device: str, cores: int, console: Console) -> dict[str, Run]:
    """Return the runs by name of the code. The first one is magray."""
    builds = {
        "magray": partial(film_a_core, film, cores) if device == "cpu" else partial(magray_cupy, film),
        "magnum.np": partial(magnum_np, film, device),
        "NeuralMag": partial(neuralmag, film, device),
        "mumax+": partial(mumax_plus, film, device),
    }
    found: dict[str, Run] = {}
    for name, build in builds.items():
        try:
            found[name] = build()
        except Missing as problem:
            console.print(f"{name}: not measured: {problem}")
    return found


def seconds(run: Run, count: int) -> float:
    """Return the seconds of one evaluation, over about `count` of them."""
    start = time.perf_counter()
    done = run(count)
    return (time.perf_counter() - start) / done


def measure(found: dict[str, Run], rounds: int, slice_s: float) -> dict[str, list[float]]:
    """Return the seconds of one evaluation by code and round, each over about `slice_s` seconds."""
    counts = {}
    for name, run in found.items():
        run(8)  # compiles
        counts[name] = max(1, round(slice_s / seconds(run, 8)))
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, run in found.items():
            times[name].append(seconds(run, counts[name]))
    return times


def main() -> None:
    """Print one row a code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=512, help="along one side")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu" if gpu_problem() else "gpu")
    parser.add_argument("--cores", type=int, default=numba.get_num_threads(), help="that each code may use, on CPUs")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--slice", type=float, default=1.0, help="seconds of each code in a round")
    n, device, cores, rounds, slice_s = vars(parser.parse_args()).values()
    console = Console()
    with suppress(ImportError):  # before anything is compiled: the number of threads becomes a part of the code
        importlib.import_module("torch").set_num_threads(cores)
    times = measure(contenders(co_like(n), device, cores, console), rounds, slice_s)
    title = f"{n}² cells, {device}, cores: {cores}; median (lowest to highest) of {rounds} rounds"
    table = Table("code", "evaluations/s", "µs an evaluation", "magray is faster by", title=title)
    for name, theirs in times.items():
        rates, ratios = [1 / t for t in theirs], [b / a for a, b in zip(times["magray"], theirs, strict=True)]
        table.add_row(name, spread(rates, ".0f"), f"{1e6 * statistics.median(theirs):.0f}", spread(ratios, ".2f"))
    console.print(table)


def spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()
