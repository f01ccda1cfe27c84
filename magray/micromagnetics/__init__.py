"""Physics on arrays: terms, demagnetising tensor, minimiser, solver. Knows nothing of Ray or of files."""

from magray.micromagnetics.solver import FilmSolver, RelaxedFilm, relax, resolve_backend
from magray.micromagnetics.terms import energy_terms, field_terms

__all__ = ["FilmSolver", "RelaxedFilm", "energy_terms", "field_terms", "relax", "resolve_backend"]
