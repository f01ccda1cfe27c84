"""Simulated films that resemble an answer: those of a store with the nearest reduced numbers, shown at its scale.

A film's picture is that of all its scaled copies (`magray.films.reduced`). So a film of the store stands for the copy
whose walls are as wide as those of the answer and whose Ms is the answer's, and has that copy's constants.
"""

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magray.errors import UserError
from magray.estimator.any_film import Posterior
from magray.films.design import history_of, reduced_numbers
from magray.films.protocol import Protocol
from magray.films.reduced import critical_dmi, stray_energy, wall_width
from magray.serve.requests import FILMS
from magray.store import Store, open_store

COLUMNS = ("film_id", "Ms", "Ku1", "Aex", "D", "dmi", "dz", "dx", "dy", "protocol")
SIDE = 160  # pixels of a shown film

Array = NDArray[np.float64]
Record = dict[str, Any]


class NearestFilms:
    """The perpendicular films of a store, by log Q1, log t/Δ and d, each in units of its spread among them."""

    def __init__(self, store: Store) -> None:
        films = store.films(columns=COLUMNS)
        numbers = reduced_numbers(films)
        use = np.isfinite(numbers["d"])
        if not use.any():
            raise UserError(f"{store.uri} has no perpendicular film that converged; serve the films of another store")
        self.store, self.films = store, films.filter(use)
        self.wall_width, self.dmi = numbers["wall_width"][use], np.asarray(self.films["dmi"])
        places = _places(numbers["Q1"][use], numbers["t_over_wall_width"][use], numbers["d"][use])
        self.spread = np.maximum(places.std(0), 1e-9)
        self.places = places / self.spread

    def of(self, found: Posterior, dmi: str | None, count: int) -> list[tuple[Record, NDArray[np.uint8]]]:
        """Return the constants (SI) of the films nearest to an answer, and their pictures (SIDE, SIDE).

        dmi: a kind; films of another one come after all of this kind. The pictures are as large as what the network saw
        of the first picture.
        """
        answer = {name: float(np.median(values)) for name, values in found.samples.items()}
        Ms, Keff, thickness = answer["Ms"], answer["Keff"], answer["thickness"]
        delta = float(wall_width(answer["Aex"], Keff))
        d = answer["D"] / critical_dmi(answer["Aex"], Keff)
        place = _places(Keff / stray_energy(Ms), thickness / delta, d) / self.spread
        distances = np.linalg.norm(self.places - place, axis=1)
        chosen = np.lexsort((distances, self.dmi != (dmi or "")))[:count]
        rows = self.films.take(chosen).to_pylist()
        images = self.store.images([row["film_id"] for row in rows])
        longer = [delta / width for width in self.wall_width[chosen].tolist()]
        return [
            (_scaled(row, scale, Ms), _shown(image, found.side / scale, row))
            for row, scale, image in zip(rows, longer, images, strict=True)
        ]


@lru_cache(maxsize=1)
def nearest_films() -> NearestFilms | None:
    """Return the films of the store that the environment names; None if it names none."""
    uri = os.environ.get(FILMS)
    return NearestFilms(open_store(uri)) if uri else None


def _places(Q1: Any, ratio: Any, d: Any) -> Array:
    return np.stack([np.log(Q1), np.log(ratio), np.asarray(d, np.float64)], -1)


def _scaled(row: Mapping[str, Any], length: float, Ms: float) -> Record:
    """Return the constants of the copy of a film that is `length` times as long and has the given Ms."""
    strength = (Ms / row["Ms"]) ** 2
    return {
        "film_id": row["film_id"],
        "D": strength * length * row["D"],
        "Aex": strength * length**2 * row["Aex"],
        "thickness": length * row["dz"],
        "dmi": row["dmi"],
        "history": history_of(Protocol.from_json(row["protocol"])),
    }


def _shown(image: NDArray[np.uint8], side: float, row: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return a square of `side` m of a film, which repeats itself, from its first corner on."""
    down, across = (
        np.floor((np.arange(SIDE) + 0.5) * side / SIDE / cell).astype(int) % cells
        for cell, cells in zip((row["dy"], row["dx"]), image.shape, strict=True)
    )
    return image[np.ix_(down, across)]
