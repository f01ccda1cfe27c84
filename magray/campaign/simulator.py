"""The two stages of a campaign, simulating and committing, without Ray."""

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa
import ray

from magray.campaign.metrics import count
from magray.errors import UserError
from magray.films import Film, films_of
from magray.store import open_store, rows_of

if TYPE_CHECKING:
    from magray.micromagnetics.result import RelaxedFilm

_RESULT_COLUMNS = ["film_id", "status", "reason", "evaluations", "seconds", "simulator", "replaced"]


class FilmSimulator:
    """A warm solver on one core or GPU. Called with blocks of the plan, it returns rows of the store.

    A block's rows come all at once and in the plan's order: Ray may run a killed block again and keep the part of its
    output that it has already seen, so both runs must give the same rows in the same places. On a GPU several threads
    call it, and the films of their blocks share the solver's slots: a slow film of one block delays none of the others.
    """

    def __init__(self, backend: str) -> None:
        from magray.micromagnetics.queue import SharedSolver
        from magray.micromagnetics.solver import FilmSolver

        solver = FilmSolver(backend, threads=1)
        self.relax: Callable[[Sequence[Film]], Iterable[RelaxedFilm]] = (
            SharedSolver(solver.serve).relax if solver.backend == "cupy" else solver.stream
        )

    def __call__(self, plan: pa.Table) -> pa.Table:
        """Return the rows of the films in a block whose column `wanted` is true, with the simulator's name."""
        plan = plan.filter(plan["wanted"]).drop_columns("wanted")
        films = films_of(plan)
        for film, film_id in zip(films, plan["film_id"].to_pylist(), strict=True):
            if film.film_id != film_id:
                raise UserError(
                    f"film {film_id} of the plan has other inputs than its id stands for; run `magray plan` again"
                )
        rows = rows_of(list(self.relax(films)), plan)
        rows = rows.append_column("simulator", pa.repeat(_name(), rows.num_rows))
        return rows.append_column("replaced", pa.repeat(_name() if _replaces_another() else "", rows.num_rows))


def _name() -> str:
    """Return the name of this process for people: node:pid."""
    return f"{platform.node()}:{os.getpid()}"


@cache
def _replaces_another() -> bool:
    """Return whether this process is an actor that Ray started in the place of one that died."""
    if not ray.is_initialized():
        return False
    context = ray.get_runtime_context()
    return context.get_actor_id() is not None and context.was_current_actor_reconstructed


class Committer:
    """An open store. Called with a simulator's rows, it commits them and returns what progress shows of them."""

    def __init__(self, store_uri: str) -> None:
        self.store = open_store(store_uri)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Commit rows. Return what progress shows of them, and the `file` of each."""
        files = self.store.commit(rows)
        count(rows, self.store.campaign)
        results = rows.select(_RESULT_COLUMNS).append_column("file", pa.array(files, pa.string()))
        if _replaces_another():
            results = results.set_column(
                results.schema.get_field_index("replaced"), "replaced", pa.repeat(_name(), rows.num_rows)
            )
        return results
