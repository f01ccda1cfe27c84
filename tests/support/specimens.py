"""Films and states that several tests share."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from magray.films import Film, Minimize, Protocol, Quench
from magray.micromagnetics import gpu_problem
from magray.micromagnetics.cpu import CpuBackend
from magray.micromagnetics.minimizer import minimize
from tests.support.dormand_prince import integrate

# The backends of an experiment: `@pytest.mark.parametrize("backend", BACKENDS)`.
_NEEDS_GPU = [pytest.mark.gpu, pytest.mark.skipif(bool(gpu_problem()), reason=f"no GPU: {gpu_problem()}")]
BACKENDS = ["cpu", pytest.param("cupy", marks=_NEEDS_GPU)]

CO_LIKE: dict[str, Any] = {"Ms": 1.5e6, "Ku1": 1.6e6, "Aex": 31e-12, "dmi": "bulk"}


def co_like(cells: tuple[int, int] = (32, 32), **changes: Any) -> Film:
    """Return the paper's Co-like film at D = 0.5 mJ/m², σ = 0.1, with `changes`."""
    defaults = {"cell_size": (4e-9, 4e-9, 4e-9), "D": 0.5e-3, "sigma": 0.1, "seed": 7}
    return Film(cells=cells, **{**CO_LIKE, **defaults, **changes})


def broken(film: Film) -> Film:
    """Return the film with a Ku1 that Film refuses, so that its arithmetic turns non-finite."""
    film = replace(film)
    object.__setattr__(film, "Ku1", 1e300)
    return film


def directions(film: Film, seed: int = 0) -> NDArray[np.float64]:
    """Return random unit vectors on the film's cells, (3, ny, nx), independent of the film's own seed."""
    m = np.random.default_rng(seed).normal(size=(3, film.cells[1], film.cells[0]))
    return np.asarray(m / np.linalg.norm(m, axis=0))


def walls_per_um(film: Film, m: NDArray[np.floating]) -> float:
    """Return the changes of sign of mz along rows and columns, per µm of line."""
    up = m[2] > 0
    crossings = np.sum(up != np.roll(up, 1, axis=0)) + np.sum(up != np.roll(up, 1, axis=1))
    (nx, ny), (dx, dy, _) = film.cells, film.cell_size
    return float(crossings / ((nx * dx * ny + ny * dy * nx) * 1e6))


def followed(film: Film, m: NDArray[np.floating], stage: Quench, tolerance: float = 1e-5) -> NDArray[np.float64]:
    """Return m after the stage by the adaptive integrator, with all terms at every step, from fields of the CPU."""
    backend = CpuBackend(film.in_stage(stage))
    after, _ = integrate(
        lambda m: backend.evaluate(m.astype(np.float32)).force, m.astype(np.float64), film, stage, tolerance
    )
    return np.asarray(after)


def minimized(film: Film, start: NDArray[np.floating], torque: float, backend: str) -> NDArray[np.float32]:
    """Return m after minimisation from any start, (3, ny, nx)."""
    m = np.asarray(start, np.float32)
    return _minimized_on_gpu(film, m, torque) if backend == "cupy" else _minimized_on_cpu(film, m, torque)


def _minimized_on_cpu(film: Film, m: NDArray[np.float32], torque: float) -> NDArray[np.float32]:
    point, _ = minimize(CpuBackend(film), m, Minimize(torque=torque))
    assert point.torque <= torque
    return np.asarray(point.m, np.float32)


def _minimized_on_gpu(film: Film, m: NDArray[np.float32], torque: float) -> NDArray[np.float32]:
    import cupy as cp

    from magray.micromagnetics.gpu.batch import CONVERGED, RUNNING, Batch, film_record

    batch = Batch(film, 1)
    batch.begin({0: film_record(replace(film, protocol=Protocol(stages=(Minimize(torque=torque),))))})
    with batch.stream:
        batch.m[1][0] = cp.asarray(m)
    while (report := batch.reports_now()[0])["mode"] == RUNNING:
        batch.launch(RUNNING)
    assert report["mode"] == CONVERGED
    with batch.stream:
        return np.asarray(batch.take(0, int(report["buffer"]))[0].get())
