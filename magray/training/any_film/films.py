"""The films that the any-film estimator learns from: pictures of a store and their numbers, on one device."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from magray.errors import UserError
from magray.films.design import HISTORIES, KINDS, reduced_columns
from magray.films.reduced import stripe_period
from magray.network.any_film import UNKNOWN
from magray.store import Store

DEEPEST = 0.97  # largest d that is asked for; films above are spirals, which the network learns to tell from others
FADING = 0.3  # of d: above DEEPEST, what is left of 1 − d falls to a third over so much
LEAST_FILMS = 8  # of a store
COLUMNS = ("film_id", "split", "Ms", "Ku1", "Aex", "D", "dz", "dmi", "protocol", "pixel_nm", "height", "width")


@dataclass(frozen=True)
class FilmSet:
    """Square films of one size.

    images: (n, side, side) uint8. thickness, wall_width: t and Δ in cells. d: as `below_one` has it. dmi, history:
    places in KINDS and HISTORIES. train, calibration, test: the films of each part, the latter two without spirals.
    All on one device.
    """

    images: torch.Tensor
    thickness: torch.Tensor
    wall_width: torch.Tensor
    d: torch.Tensor
    Q1: torch.Tensor
    dmi: torch.Tensor
    history: torch.Tensor
    train: torch.Tensor
    calibration: torch.Tensor
    test: torch.Tensor

    @property
    def side(self) -> int:
        """The number of cells along x and along y."""
        return self.images.shape[1]

    @property
    def s(self) -> torch.Tensor:
        """The energy of a wall over that of the stray field."""
        return 2 * self.wall_width / self.thickness * (1 - self.d) * self.Q1

    def period(self) -> torch.Tensor:
        """Return the period of stripes that theory expects, in cells."""
        exponent = (torch.pi * self.s).clamp(max=50)
        numbers = (self.wall_width, self.thickness / self.wall_width, exponent)
        return torch.as_tensor(stripe_period(*(one.cpu().numpy() for one in numbers)), device=self.wall_width.device)

    def has_walls(self) -> torch.Tensor:
        """Return whether each film has domains of both kinds."""
        parts = [part.flatten(1) > 127 for part in torch.split(self.images, 512)]
        return torch.cat([part.any(1) & ~part.all(1) for part in parts])


def read_films(store: Store, device: torch.device) -> FilmSet:
    """Return the perpendicular films of a store that converged.

    The store's test films are divided into those for the calibration and those for the test. Raises UserError for films
    that are not square, and for fewer than LEAST_FILMS.
    """
    films = store.films(columns=COLUMNS)
    numbers = reduced_columns(films)
    use = np.isfinite(numbers["d"].to_numpy())
    films, numbers = films.filter(pa.array(use)), numbers.filter(pa.array(use))
    if len(films) < LEAST_FILMS:
        raise UserError(f"{store.uri} has {len(films)} perpendicular films that converged; {LEAST_FILMS} are needed")
    if films["height"].unique() != films["width"].unique() or len(films["height"].unique()) != 1:
        raise UserError(f"{store.uri}: the any-film estimator needs square films of one size in each store")
    cell = films["pixel_nm"].to_numpy() * 1e-9

    def column(values: object) -> torch.Tensor:
        return torch.tensor(np.asarray(values), dtype=torch.float32, device=device)

    d = below_one(numbers["d"].to_numpy())
    parts = _parts(films["split"].to_numpy(), d, device)
    return FilmSet(
        images=torch.from_numpy(store.images(films["film_id"].to_pylist())).to(device),
        thickness=column(films["dz"].to_numpy() / cell),
        wall_width=column(numbers["wall_width"].to_numpy() / cell),
        d=column(d),
        Q1=column(numbers["Q1"]),
        dmi=_places(films["dmi"], KINDS, device),
        history=_places(numbers["history"], HISTORIES, device),
        train=parts[0],
        calibration=parts[1],
        test=parts[2],
    )


def _places(column: pa.ChunkedArray, names: Sequence[str], device: torch.device) -> torch.Tensor:
    """Return the place of each value among `names`, UNKNOWN for others."""
    found = pc.fill_null(pc.index_in(column, value_set=pa.array(names)), UNKNOWN)
    return torch.tensor(found.to_numpy(), dtype=torch.int64, device=device)


def below_one(d: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return d = D/Dc as it is up to DEEPEST, and above it ever closer to 1, so that every film has a wall energy."""
    return np.where(d <= DEEPEST, d, 1 - (1 - DEEPEST) * np.exp((DEEPEST - np.maximum(d, DEEPEST)) / FADING))


def _parts(
    split: NDArray[np.object_], d: NDArray[np.float64], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the films to train with, to calibrate with, and to test with: every second of the store's test films."""
    test = np.flatnonzero((split == "test") & (d <= DEEPEST))
    train = np.flatnonzero(split != "test")
    if len(test) < 2 or not len(train):
        raise UserError("the any-film estimator needs films to train, to calibrate and to test with; simulate more")
    train_, calibration, test_ = (torch.from_numpy(part).to(device) for part in (train, test[::2], test[1::2]))
    return train_, calibration, test_
