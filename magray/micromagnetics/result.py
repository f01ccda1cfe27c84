"""A solver's result for a film."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from magray.films.film import Film
from magray.films.protocol import Demagnetise, Minimize, Step, Sweep, Vector

Status = Literal["converged", "not_converged", "failed"]


class LoopPoint(NamedTuple):
    """A point of a hysteresis loop: the applied field, A/m, and the mean m of the film's cells."""

    field: Vector
    m: Vector


@dataclass(frozen=True)
class RelaxedFilm:
    """A film at the end of its protocol.

    m: unit vectors (3, ny, nx), None if the film failed. energy: J/m³ by term and "total".
    max_torque: max |m × h|, Ms. evaluations: of the field. reason: why a film failed or did not converge, or empty.
    seconds: of the core that relaxed it, or its share of the GPU's time. loop: what its sweeps recorded, in order.
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
    loop: tuple[LoopPoint, ...] = ()

    @property
    def converged(self) -> bool:
        """Return whether every stage of the protocol reached its tolerance."""
        return self.status == "converged"


def failed(
    film: Film, evaluations: int, seconds: float, device: str, solver: str, reason: str = "its energy is not finite"
) -> RelaxedFilm:
    """Return the result of a film that has no end state."""
    message = f"film {film.film_id}: {reason}; its constants are out of range"
    return RelaxedFilm(film, None, {}, np.nan, evaluations, "failed", message, seconds, device, solver)


class Unfinished(NamedTuple):
    """A step that ended before its tolerance, at this torque (Ms) and after so many evaluations."""

    step: Step
    torque: float
    evaluations: int

    def __str__(self) -> str:
        """Return why a stage of this one step did not converge."""
        tolerance = self.step.does.torque if isinstance(self.step.does, Minimize) else 0.0
        return f"torque {self.torque:.2g} Ms after {self.evaluations} evaluations, above {tolerance:g} Ms"


def unfinished(film: Film, steps: Sequence[Unfinished]) -> str:
    """Return why a film did not converge, a clause for each stage of which there are `steps`; empty if there are none.

    A field of a demagnetise or a sweep that does not relax does not end the film: the next one begins where it ended.
    """
    clauses = []
    for place, found in groupby(steps, lambda one: one.step.stage):
        first, *others = found
        stage = film.protocol.stages[place]
        if isinstance(stage, Demagnetise | Sweep):
            name, count = type(stage).__name__.lower(), stage.count
            clauses.append(f"{name}: {1 + len(others)} of {count} fields not relaxed, the first with {first}")
        else:
            clauses.append(str(first))
    return "; ".join(clauses)
