"""Stores of designed films whose domains are drawn, where a test is about learning and not about physics."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from magray.films import plan_table
from magray.films.design import Design, draw
from magray.micromagnetics import RelaxedFilm
from magray.store import Store, create_store, rows_of
from tests.support.stripes import stripes

SIDE = 64


def design(films: int, side: int = SIDE) -> Design:
    """Return a design of every kind of film and history."""
    return Design(
        films=films,
        seed=1,
        cells=(side, side),
        cell_size=4e-9,
        Ms=1e6,
        Q1=(0.02, 4.0),
        t_over_wall_width=(0.04, 4.0),
        wall_width=(8.8e-9, 16e-9),
        d=(0.0, 0.97),
        sigma=0.15,
        grain_size=(8e-9, 40e-9),
        beyond=0.15,
        spirals=0.0,
        start=4e-9,
        histories={"minimised": 0.4, "quenched": 0.2, "thermal": 0.2, "demagnetised": 0.2},
        torque=3e-4,
        max_evaluations=100,
    )


def designed_store(folder: Path, films: int, side: int = SIDE, spirals: float = 0.0) -> Store:
    """Return a committed store of designed films with striped pictures: the stronger DMI, the narrower the stripes."""
    drawn = draw(replace(design(films, side), spirals=spirals))
    relaxed = []
    for number, film in enumerate(drawn):
        periods = 1 + round(6 * abs(film.D) / film.critical_D)
        mz = stripes(periods, 0.5, number, side)
        m = np.stack([np.sqrt(1 - mz**2), np.zeros_like(mz), mz])
        relaxed.append(
            RelaxedFilm(film, m, {"total": 0.0}, 0.0, 1, "converged", "", 0.0, device="none", solver="drawn")
        )
    plan = plan_table(drawn, "designed")
    store = create_store(str(folder), "designed", plan)
    store.commit(rows_of(relaxed, plan))
    return store
