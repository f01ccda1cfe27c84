"""The film solver: any list of films in, each film's relaxed magnetisation out, as they finish."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import numba
import numpy as np
from numpy.typing import NDArray

from magray.errors import UserError
from magray.films.film import Film
from magray.micromagnetics.cpu import CpuLandscape
from magray.micromagnetics.minimizer import minimize
from magray.micromagnetics.oracle import OracleLandscape
from magray.micromagnetics.random import initial_state
from magray.micromagnetics.terms import energy_terms

Status = Literal["converged", "not_converged", "failed"]

LANDSCAPES: dict[str, Any] = {"numpy": OracleLandscape, "cpu": CpuLandscape}


@dataclass(frozen=True)
class RelaxedFilm:
    """A film at the end of its protocol.

    m: unit vectors (3, ny, nx), None if the film failed. energy: J/m³ by term and "total".
    max_torque: max |m × h|, Ms. evaluations: of the field. reason: why a film failed or did not converge, or empty.
    """

    film: Film
    m: NDArray[np.float32] | None
    energy: dict[str, float]
    max_torque: float
    evaluations: int
    status: Status
    reason: str
    seconds: float
    device: str
    solver: str

    @property
    def converged(self) -> bool:
        """True if every stage of the protocol reached its tolerance."""
        return self.status == "converged"


def resolve_backend(backend: str) -> str:
    """The backend that `backend` means on this machine: "numpy" or "cpu"; "auto" is the fastest one.

    Raises UserError for a backend that is unknown or cannot run here.
    """
    if backend == "auto":
        return "cpu"
    if backend == "cupy":
        raise UserError("backend cupy is not part of this version; use cpu or auto")
    if backend not in LANDSCAPES:
        raise UserError(f"backend is one of auto, {', '.join(LANDSCAPES)}, not {backend!r}")
    return backend


class FilmSolver:
    """Relaxes films, one film a thread. What comes out of a film does not depend on the other films or on `threads`."""

    def __init__(self, backend: str = "auto", threads: int | None = None) -> None:
        self.backend = resolve_backend(backend)
        self.threads = threads or numba.get_num_threads()  # this process's cores, unless NUMBA_NUM_THREADS says less
        self.solver = f"magray {version('magray')} {self.backend}"

    def stream(self, films: Sequence[Film]) -> Iterator[RelaxedFilm]:
        """Each film's end state, in the order in which they finish."""
        if self.threads == 1:
            yield from map(self.relax, films)
            return
        with ThreadPoolExecutor(self.threads) as pool:
            for done in as_completed([pool.submit(self.relax, film) for film in films]):
                yield done.result()

    def relax(self, film: Film) -> RelaxedFilm:
        """The film at the end of its protocol."""
        start = time.perf_counter()
        landscape = LANDSCAPES[self.backend](film)
        m: NDArray[np.floating] = initial_state(film)
        evaluations, torque, unfinished = 0, np.inf, ""
        for stage in film.protocol.stages:
            point, used = minimize(landscape, m, stage)
            m, torque, evaluations = point.m, point.torque, evaluations + used
            if not np.isfinite(point.energy):
                return self._failed(film, evaluations, time.perf_counter() - start)
            if torque > stage.torque:
                unfinished = f"torque {torque:.2g} Ms after {used} evaluations, above {stage.torque:g} Ms"
        return RelaxedFilm(
            film=film,
            m=np.asarray(m, np.float32),
            energy=energy_terms(film, m),
            max_torque=torque,
            evaluations=evaluations,
            status="not_converged" if unfinished else "converged",
            reason=unfinished,
            seconds=time.perf_counter() - start,
            device="cpu",
            solver=self.solver,
        )

    def _failed(self, film: Film, evaluations: int, seconds: float) -> RelaxedFilm:
        reason = f"the energy of film {film.film_id} is not a finite number: its constants are out of range"
        return RelaxedFilm(
            film, None, {}, np.nan, evaluations, "failed", reason, seconds, device="cpu", solver=self.solver
        )


def relax(films: Sequence[Film], backend: str = "auto") -> list[RelaxedFilm]:
    """Each film at the end of its protocol, in the order given, on all of this machine's cores.

    Raises UserError if the backend cannot run here. A film that fails or does not converge says so in its `status`.
    """
    done = {relaxed.film.film_id: relaxed for relaxed in FilmSolver(backend).stream(films)}
    return [done[film.film_id] for film in films]
