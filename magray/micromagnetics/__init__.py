"""Physics on arrays: terms, demagnetising tensor, minimiser, solver. Knows nothing of Ray or of files."""

from magray.micromagnetics.result import RelaxedFilm
from magray.micromagnetics.solver import FilmSolver, gpu_problem, relax, resolve_backend
from magray.micromagnetics.terms import energy_terms, field_terms

__all__ = ["FilmSolver", "RelaxedFilm", "energy_terms", "field_terms", "gpu_problem", "relax", "resolve_backend"]
