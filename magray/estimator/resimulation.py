"""Simulate films of an answer again, and compare their pictures with the one that was given.

The films have the constants of draws of the posterior and the history told, and are as large as the picture. They are
seen through the instrument, with a blur and a noise of their own each. Three statistics of their pictures are compared
with the given one's: the period, the length of walls per area, and the width of walls.
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit

from magray.estimator.knowns import Knowledge
from magray.estimator.trust import STATISTICS, picture_statistics
from magray.films.design import History, largest_sigma, protocol_of
from magray.films.film import MOST_ELONGATED, Film
from magray.films.protocol import Minimize, Protocol
from magray.films.reduced import ReducedNumbers, profile_narrowing, stray_energy, stripe_period
from magray.imaging import VIEW_SIZE, area_average
from magray.imaging.microscope import CLEAN, MICROSCOPE, blurred, detrend

if TYPE_CHECKING:
    from magray.micromagnetics import FilmSolver, RelaxedFilm

Array = NDArray[np.float64]
_LOG = logging.getLogger(__name__)

FILMS = 4
SIZES = (96, 128, 192, 256, 384, 512)  # cells of a film, along a side
RESOLVED = 2.2  # cells in the width of a wall's profile, as in configs/any-film
SIGMA = 0.25  # of Ku1 from cell to cell: the largest of the training
LAST = Minimize(torque=3e-4, max_evaluations=3000)
EVALUATIONS = {"minimised": 750, "quenched": 1200, "thermal": 1200, "demagnetised": 1800}  # of the field, of a film
PROBED = 30  # evaluations, whose time is measured
LEAST_SCATTER = 0.05  # relative, of each statistic: what few films show of it may be too small by chance
CONFIDENCE = 0.99  # of each comparison, that the picture of the same film agrees
COMPARED = {"period": "period", "wall density": "length of walls per area", "wall width": "width of walls"}
POWERS = {"period": 1, "wall density": -1, "wall width": 1}  # of a length


@dataclass(frozen=True)
class Comparison:
    """A statistic of the picture, and the mean of those of the resimulated films with their standard deviation, SI."""

    picture: float
    films: float
    scatter: float
    agrees: bool


@dataclass(frozen=True)
class Resimulation:
    """Comparisons of a picture with the pictures of films of its answer, by name of COMPARED.

    views: those pictures, (films, 128, 128), as the estimator would see them.
    """

    films: int
    cells: int
    history: History
    comparisons: Mapping[str, Comparison]
    views: NDArray[np.float32] = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return all but the views, in SI units."""
        compared = {name: asdict(one) for name, one in self.comparisons.items()}
        return {"films": self.films, "cells": self.cells, "history": self.history, "comparisons": compared}

    def reasons(self) -> list[str]:
        """Return what differs."""
        return [
            f"resimulated films have a {COMPARED[name]} of {_text(name, one.films, one.scatter)}, "
            f"the picture {_text(name, one.picture)}"
            for name, one in self.comparisons.items()
            if not one.agrees
        ]

    def __str__(self) -> str:
        head = f"{self.films} films simulated, {self.history}"
        return "\n".join(
            f"{head}: {COMPARED[name]} {_text(name, one.films, one.scatter)}, of the picture {_text(name, one.picture)}"
            for name, one in self.comparisons.items()
        )


def _text(name: str, value: float, scatter: float | None = None) -> str:
    factor, unit = (1e9, "nm") if POWERS[name] > 0 else (1e-6, "per µm")
    return (
        f"{value * factor:.3g} {unit}" if scatter is None else f"{value * factor:.3g} ± {scatter * factor:.2g} {unit}"
    )


def resimulated(
    view: torch.Tensor,
    pixel: float,
    constants: Mapping[str, Array],
    knowledge: Knowledge,
    backend: str = "auto",
    films: int = FILMS,
) -> Resimulation:
    """Return how a view (128, 128) with pixels of `pixel` m compares with films at the first draws of `constants`.

    constants: Ms, Keff, Aex, D and thickness of the posterior's samples, SI. How long it takes is logged before it
    begins.
    """
    from magray.micromagnetics import FilmSolver  # takes a second, which every answer would pay

    history = knowledge.history or "minimised"
    planned = [
        _film({name: float(values[n]) for name, values in constants.items()}, n, films, pixel, knowledge, history)
        for n in range(films)
    ]
    solver = FilmSolver(backend)
    cells = max(film.cells[0] for film in planned)
    seconds = _seconds(solver, planned, history)
    _LOG.warning(
        "simulating %d films of up to %d × %d cells, %s, on backend %s: about %.0f s",
        *(films, cells, cells, history, solver.backend, seconds),
    )
    views = _pictures([one for one in solver.stream(planned) if one.m is not None], knowledge)
    return Resimulation(len(views), cells, history, compare(view.numpy(), views, pixel), views)


def compare(view: NDArray[np.floating], views: NDArray[np.floating], pixel: float) -> dict[str, Comparison]:
    """Return the comparisons of a view (128, 128) with those of films (n, 128, 128), pixel in m, by their scatter."""
    places = [list(STATISTICS).index(name) for name in COMPARED]
    of_films = picture_statistics(views)[:, places]  # logarithms, of lengths in pixels
    of_picture = picture_statistics(view[None])[0, places]
    mean = of_films.mean(0)
    scatter = np.maximum(of_films.std(0, ddof=1), LEAST_SCATTER)
    allowed = stdtrit(len(views) - 1, (1 + CONFIDENCE) / 2) * scatter * math.sqrt(1 + 1 / len(views))
    found = {}
    for place, name in enumerate(COMPARED):
        unit = pixel ** POWERS[name]
        center = math.exp(mean[place]) * unit
        agrees = bool(abs(of_picture[place] - mean[place]) <= allowed[place])
        found[name] = Comparison(math.exp(of_picture[place]) * unit, center, center * float(scatter[place]), agrees)
    return found


def _film(
    constants: Mapping[str, float], number: int, films: int, pixel: float, knowledge: Knowledge, history: History
) -> Film:
    """Return a film as large as a view, in cells that resolve its walls."""
    Ms, thickness = constants["Ms"], constants["thickness"]
    Ku1 = constants["Keff"] + float(stray_energy(Ms))
    numbers = ReducedNumbers.of(Ms, Ku1, constants["Aex"], constants["D"], thickness, 1.0)
    ratio = numbers.tau / numbers.delta
    profile = float(profile_narrowing(numbers.Q1, ratio)) * numbers.delta
    side = VIEW_SIZE * pixel
    possible = [n for n in SIZES if thickness < MOST_ELONGATED * side / n] or [SIZES[0]]
    n = next((n for n in possible if side / n <= profile / RESOLVED), possible[-1])
    point = {
        "Q1": numbers.Q1,
        "thickness": thickness,
        "wall_width": numbers.delta,
        "period": float(stripe_period(numbers.delta, ratio, math.pi * numbers.s)),
        "first": (number + 0.5) / films,
        "second": 0.5,
    }
    return Film(
        cells=(n, n),
        cell_size=(side / n, side / n, thickness),
        Ms=Ms,
        Ku1=Ku1,
        Aex=constants["Aex"],
        D=constants["D"],
        dmi=knowledge.dmi or "interfacial",
        sigma=min(SIGMA, float(largest_sigma(numbers.Q1, numbers.delta, 0.0, side / n))) / 2,
        seed=number,
        protocol=protocol_of(history, point, Ms, side / n, "random", LAST),
    )


def _seconds(solver: "FilmSolver", films: Sequence[Film], history: History) -> float:
    """Return about how long the films take, from the time of a few evaluations of the first."""
    probe = replace(films[0], protocol=Protocol(stages=(Minimize(torque=1e-12, max_evaluations=PROBED),)))
    for seed in (1, 2):  # the first one compiles
        start = time.perf_counter()
        list(solver.stream([replace(probe, seed=seed)]))
    at_once = len(films) if solver.backend == "cupy" else solver.threads
    return (time.perf_counter() - start) / PROBED * EVALUATIONS[history] * math.ceil(len(films) / at_once)


def _pictures(films: Sequence["RelaxedFilm"], knowledge: Knowledge) -> NDArray[np.float32]:
    """Return views (n, 128, 128) of films through instruments of the training."""
    mz = np.stack([area_average(one.m[2:])[0] for one in films if one.m is not None])
    instrument = CLEAN if knowledge.instrument == "none" else MICROSCOPE
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(2, len(mz), generator=generator)
    blur, noise = (
        low + (high - low) * part for (low, high), part in zip((instrument.blur, instrument.noise), drawn, strict=True)
    )
    views = blurred(torch.from_numpy(mz), blur)
    white = torch.randn(views.shape, generator=generator)
    return np.asarray(detrend(views + noise[:, None, None] * white).numpy())
