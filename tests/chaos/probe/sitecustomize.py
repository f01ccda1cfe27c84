"""Python runs this where every process begins that has this folder in PYTHONPATH: each film that a solver has done is
noted, as a line in the file PROBE_NOTES. So a test knows how often a film was simulated, whoever ran the solver.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

SOLVER = "magray.micromagnetics.solver"


class _Probe(MetaPathFinder):
    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        if fullname != SOLVER:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        assert spec is not None
        assert spec.loader is not None
        run = spec.loader.exec_module

        def run_and_watch(module: ModuleType) -> None:
            run(module)
            _watch(module.FilmSolver)

        spec.loader.exec_module = run_and_watch  # type: ignore[method-assign]
        return spec


def _watch(solver: Any) -> None:
    stream = solver.stream

    def noted_stream(self: Any, films: Iterable[Any]) -> Iterator[Any]:
        for done in stream(self, films):
            with open(os.environ["PROBE_NOTES"], "a") as notes:  # noqa: PTH123  (nothing imported before it is needed)
                notes.write(f"{done.film.film_id}\n")
            yield done

    solver.stream = noted_stream


if "PROBE_NOTES" in os.environ:
    sys.meta_path.insert(0, _Probe())
