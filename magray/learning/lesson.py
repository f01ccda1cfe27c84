"""A lesson: what a fit learns, from which films of a store, and how; with the estimator that comes of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import nn

from magray.imaging import cells_of, scale_of
from magray.learning.batches import TrainingFilms
from magray.learning.calibration import calibrate
from magray.learning.estimator import Calibration, Description, Estimator, Target
from magray.learning.network import NETWORKS
from magray.learning.recipe import Recipe
from magray.store import Store, open_store


@dataclass(frozen=True)
class Lesson:
    """What a worker needs: it reads the films from the store by itself.

    film_ids: to learn from. calibration_ids: to measure the errors on. pixel_nm: of both.
    """

    store_uri: str
    film_ids: tuple[str, ...]
    calibration_ids: tuple[str, ...]
    targets: tuple[Target, ...]
    scales_um: tuple[float, ...]
    pixel_nm: float
    recipe: Recipe

    @property
    def name(self) -> str:
        """The same for the same lesson: that is how its checkpoints are found again."""
        return "fit-" + hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def films(self, device: torch.device) -> TrainingFilms:
        """The films on a device, with their targets."""
        store = open_store(self.store_uri)
        means, spreads = (np.array([getattr(one, name) for one in self.targets]) for name in ("mean", "spread"))
        standardised = (self._values(store, self.film_ids) - means) / spreads
        return TrainingFilms(
            images=torch.from_numpy(store.images(self.film_ids)).to(device),
            targets=torch.from_numpy(standardised).float().to(device),
            sides=tuple(cells_of(scale, self.pixel_nm) for scale in self.scales_um),
            pixel_um=scale_of(1, self.pixel_nm),
        )

    def network(self) -> nn.Module:
        """A network that can learn it."""
        return NETWORKS[self.recipe.network](len(self.targets), self.recipe.width)

    def calibration(self, network: nn.Module) -> Calibration:
        """The errors of a trained network on films that it never saw."""
        store = open_store(self.store_uri)
        images, values = store.images(self.calibration_ids), self._values(store, self.calibration_ids)
        return calibrate(self.estimator(network, Calibration((), {}, 0), {}), images, values, self.pixel_nm)

    def estimator(self, network: nn.Module, calibration: Calibration, provenance: Mapping[str, Any]) -> Estimator:
        """A trained network as an estimator, which puts it into its mode for answers."""
        between = self.recipe.scales_drawn == "between"
        description = Description(
            self.targets,
            self.scales_um,
            len(self.film_ids),
            calibration,
            provenance,
            network=self.recipe.network,
            width=self.recipe.width,
            between=between,
        )
        return Estimator(network, description)

    def _values(self, store: Store, ids: Sequence[str]) -> NDArray[np.float64]:
        """The targets of films (n, targets), SI, in the order of `ids`."""
        names = [target.name for target in self.targets]
        table = store.table(["film_id", *names], pc.field("film_id").isin(ids))
        places = {film_id: place for place, film_id in enumerate(table["film_id"].to_pylist())}
        order = [places[film_id] for film_id in ids]
        return np.stack([table[name].to_numpy()[order] for name in names], axis=1)
