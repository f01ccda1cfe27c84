"""Physics on arrays: energy terms, demagnetising tensor, minimiser, dynamics, solvers. Independent of Ray and files."""

from magray.micromagnetics.result import LoopPoint, RelaxedFilm
from magray.micromagnetics.solver import FilmSolver, gpu_problem, relax, resolve_backend
from magray.micromagnetics.terms import energy_terms, field_terms

__all__ = [
    "FilmSolver",
    "LoopPoint",
    "RelaxedFilm",
    "energy_terms",
    "field_terms",
    "gpu_problem",
    "relax",
    "resolve_backend",
]
