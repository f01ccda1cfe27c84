"""The two stages of a campaign. Each knows its work, not who runs it."""

import pyarrow as pa

from magray.errors import UserError
from magray.films import films_of
from magray.store import open_store, rows_of

RESULT_COLUMNS = ["film_id", "status", "evaluations", "seconds"]


class FilmSimulator:
    """A warm solver on one core or GPU. Called with blocks of the plan, it answers with rows of the store.

    A block is answered whole and in the plan's order: Ray may run a killed block again and keep the part of its output
    that it has already seen, so both runs must give the same rows in the same places.
    """

    def __init__(self, backend: str) -> None:
        from magray.micromagnetics.solver import FilmSolver

        self.solver = FilmSolver(backend, threads=1)

    def __call__(self, plan: pa.Table) -> pa.Table:
        films = films_of(plan)
        for film, film_id in zip(films, plan["film_id"].to_pylist(), strict=True):
            if film.film_id != film_id:
                raise UserError(
                    f"film {film_id} of the plan has other inputs than its id stands for; run `magray plan` again"
                )
        return rows_of(list(self.solver.stream(films)), plan)


def commit_block(rows: pa.Table, store_uri: str) -> pa.Table:
    """Commits rows to the store and passes on what progress needs to know of them, without the pictures."""
    open_store(store_uri).commit(rows)
    return rows.select(RESULT_COLUMNS)
