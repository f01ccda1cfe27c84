"""The film solver: relaxes any list of films on CPU cores or a GPU, and yields each as it finishes."""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.util import find_spec
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from magray._version import __version__
from magray.errors import UserError
from magray.films.film import Film
from magray.films.protocol import Minimize, Quench, Vector
from magray.films.values import instance, sequence
from magray.micromagnetics.cpu import CpuBackend
from magray.micromagnetics.initial_state import initial_state, tilted_again
from magray.micromagnetics.llg import impossible, quench
from magray.micromagnetics.mask import mask
from magray.micromagnetics.minimizer import minimize
from magray.micromagnetics.queue import FilmQueue
from magray.micromagnetics.reference import Reference
from magray.micromagnetics.result import LoopPoint, RelaxedFilm, Unfinished, failed, unfinished
from magray.micromagnetics.terms import energy_terms

BACKENDS: dict[str, Any] = {"numpy": Reference, "cpu": CpuBackend}


def gpu_problem() -> str:
    """Return why the cupy backend cannot run here and what would help; empty if it can."""
    if find_spec("cupy") is None:
        return "CuPy is not installed; install magray[cuda13], or magray[cuda12] for a driver older than 580"
    import cupy

    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CUDA says {error}; it needs a GPU and a driver that is not older than CuPy's CUDA (magray[cuda12])"
    return "" if devices else "there is no CUDA device"


def resolve_backend(backend: str) -> str:
    """Return the backend to use on this machine: "numpy", "cpu" or "cupy"; "auto" is the fastest one.

    Raises UserError for a backend that is unknown or cannot run here.
    """
    if backend == "auto":
        return "cpu" if gpu_problem() else "cupy"
    if backend == "cupy" and (problem := gpu_problem()):
        raise UserError(f"backend cupy cannot run here: {problem}; or use backend cpu")
    if backend not in {*BACKENDS, "cupy"}:
        raise UserError(f"backend is one of auto, numpy, cpu, cupy, not {backend!r}")
    return backend


class FilmSolver:
    """A solver that relaxes one film a thread on CPUs, or a batch of films on a GPU.

    The result of a film does not depend on the other films or on `threads` (all of this process's cores if None).
    """

    def __init__(self, backend: str = "auto", threads: int | None = None) -> None:
        self.backend = resolve_backend(backend)
        self.threads = threads or numba.get_num_threads()  # of this process, unless NUMBA_NUM_THREADS says less
        self.solver = f"magray {__version__} {self.backend}"
        if self.backend == "cupy":
            from magray.micromagnetics.gpu.solver import GpuSolver

            self.gpu = GpuSolver()

    def stream(self, films: Sequence[Film]) -> Iterator[RelaxedFilm]:
        """Yield each film's end state as it finishes."""
        if self.backend == "cupy":
            yield from self.gpu.stream(films, self.solver)
        elif self.threads == 1:
            yield from map(self._relax, films)
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                for done in as_completed([pool.submit(self._relax, film) for film in films]):
                    yield done.result()

    def serve(self, queue: FilmQueue) -> Iterator[RelaxedFilm]:
        """Yield the end state of each film of a queue as it finishes. On a GPU only: all films share its slots."""
        yield from self.gpu.serve(queue, self.solver)

    def _relax(self, film: Film) -> RelaxedFilm:
        """Return the film at the end of its protocol."""
        start = time.perf_counter()
        if reason := impossible(film):
            return failed(film, 0, 0.0, "cpu", self.solver, reason)
        backend = BACKENDS[self.backend](film)
        m: NDArray[np.floating] = initial_state(film)
        evaluations, torque = 0, np.inf
        behind: list[Unfinished] = []
        loop: list[LoopPoint] = []
        for step in film.protocol.steps:
            specimen = film.in_stage(step.does)
            if specimen.field != backend.film.field:
                backend = backend.in_stage(specimen)
            if step.noise:
                m = tilted_again(film, m, step.noise, (step.number, step.stage))
            if isinstance(step.does, Quench):
                m, used = quench(backend, m, specimen, step.does, step.stage)
                point = backend.evaluate(m)
            else:
                point, used = minimize(backend, m, step.does)
            m, torque, evaluations = point.m, point.torque, evaluations + used
            if not np.isfinite(point.energy):
                return failed(film, evaluations, time.perf_counter() - start, "cpu", self.solver)
            if isinstance(step.does, Minimize) and torque > step.does.torque:
                behind.append(Unfinished(step, torque, used))
            if step.recorded:
                loop.append(LoopPoint(specimen.field, _mean_m(film, m)))
        return RelaxedFilm(
            film=film,
            m=np.asarray(m, np.float32),
            energy=energy_terms(backend.film, m),
            max_torque=torque,
            evaluations=evaluations,
            status="not_converged" if behind else "converged",
            reason=unfinished(film, behind),
            seconds=time.perf_counter() - start,
            device="cpu",
            solver=self.solver,
            loop=tuple(loop),
        )


def _mean_m(film: Film, m: NDArray[np.floating]) -> Vector:
    """Return the mean of m over the film's cells."""
    x, y, z = (m.sum(axis=(1, 2), dtype=np.float64) / np.count_nonzero(mask(film))).tolist()
    return x, y, z


def relax(films: Iterable[Film], backend: str = "auto") -> list[RelaxedFilm]:
    """Return each film at the end of its protocol, in the order given, on all of this machine's cores or on its GPU.

    Raises UserError if the backend cannot run here. A film that fails or does not converge says so in its `status`.
    """
    films = sequence(films, "films")  # a generator can be gone through once only
    for film in films:
        instance(film, Film, "films")
    done = {relaxed.film.film_id: relaxed for relaxed in FilmSolver(backend).stream(films)}
    return [done[film.film_id] for film in films]
