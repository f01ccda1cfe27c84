"""A solver's result for a film."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from magray.films.film import Film
from magray.films.protocol import Minimize

Status = Literal["converged", "not_converged", "failed"]


@dataclass(frozen=True)
class RelaxedFilm:
    """A film at the end of its protocol.

    m: unit vectors (3, ny, nx), None if the film failed. energy: J/m³ by term and "total".
    max_torque: max |m × h|, Ms. evaluations: of the field. reason: why a film failed or did not converge, or empty.
    seconds: of the core that relaxed it, or its share of the GPU's time.
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


def failed(
    film: Film, evaluations: int, seconds: float, device: str, solver: str, reason: str = "its energy is not finite"
) -> RelaxedFilm:
    """Return the result of a film that has no end state."""
    message = f"film {film.film_id}: {reason}; its constants are out of range"
    return RelaxedFilm(film, None, {}, np.nan, evaluations, "failed", message, seconds, device, solver)


def unfinished(torque: float, evaluations: int, stage: Minimize) -> str:
    """Return why a stage ended before it reached its tolerance."""
    return f"torque {torque:.2g} Ms after {evaluations} evaluations, above {stage.torque:g} Ms"
