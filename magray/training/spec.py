"""A lesson: what a fit learns, from which films of a store, and how; with the estimator that comes of it."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import nn

from magray.estimator.calibration import calibrate
from magray.estimator.estimator import Estimator
from magray.estimator.metadata import Calibration, EstimatorMetadata, ParameterRange, Target, standardised
from magray.estimator.predictor import Predictor
from magray.imaging import cells_of, scale_of
from magray.network.branches import NETWORKS
from magray.store import Store, open_store
from magray.training.config import TrainConfig
from magray.training.crops import FilmBatch
from magray.training.loader import epoch_films
from magray.training.prefetch import FilmChunk, PrefetchBuffer

CALIBRATION_FILMS = 4096  # of those that are kept, where the device cannot hold all films: far more than it takes


@dataclass(frozen=True)
class TrainingSpec:
    """The work of a training worker as plain data; it reads the films from the store itself.

    film_ids: to learn from. calibration_ids: to measure the errors on. pixel_nm, shape (ny, nx): of both.
    films_at_once: that the device is to hold; None if that is the worker's to find out.
    """

    store_uri: str
    film_ids: tuple[str, ...]
    calibration_ids: tuple[str, ...]
    targets: tuple[Target, ...]
    scales_um: tuple[float, ...]
    pixel_nm: float
    shape: tuple[int, int]
    config: TrainConfig
    films_at_once: int | None = None
    constants: tuple[ParameterRange, ...] = ()
    protocols: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The same for the same lesson: that is how its checkpoints are found again."""
        return "fit-" + hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @contextmanager
    def films(self, device: torch.device, at_once: int) -> Iterator[FilmBatch]:
        """The films on a device, with their targets: all, or `at_once` by turns and read from the store meanwhile."""
        store = open_store(self.store_uri)
        targets = standardised(self._values(store, self.film_ids), self.targets)
        sides = tuple(cells_of(scale, self.pixel_nm) for scale in self.scales_um)
        pixel_um = scale_of(1, self.pixel_nm)
        if at_once >= len(self.film_ids):
            images = torch.from_numpy(store.images(self.film_ids)).to(device)
            yield FilmBatch(images, targets.to(device), sides, pixel_um)
            return
        images = torch.zeros((at_once, *self.shape), dtype=torch.uint8, device=device)
        shown = torch.zeros((at_once, len(self.targets)), device=device)
        with PrefetchBuffer(images, shown, targets, self._reading(store, at_once)) as stream:
            yield FilmBatch(images, shown, sides, pixel_um, stream)

    def _reading(self, store: Store, at_once: int) -> Callable[[int], Iterator[FilmChunk]]:
        """Return a reader of the films in the order of an epoch, at most a chunk at a time."""
        row_index, seed = store.row_index(self.film_ids), self.config.seed
        return lambda epoch: epoch_films(self.store_uri, row_index, self.shape, (seed, epoch), at_once // 2)

    def network(self) -> nn.Module:
        """A network that can learn it."""
        return NETWORKS[self.config.network](len(self.targets), self.config.width)

    def calibration(self, network: nn.Module, at_once: int) -> Calibration:
        """The errors of a trained network on films that it never saw.

        Of those some are enough where the device held only `at_once` of the others.
        """
        store, ids = open_store(self.store_uri), self.calibration_ids
        if at_once < len(self.film_ids):
            ids = ids[: min(at_once, CALIBRATION_FILMS)]
        images, values = store.images(ids), self._values(store, ids)
        predictor = Predictor(network, self.targets, self.config.microscope)
        return calibrate(predictor, images, values, self.pixel_nm, self.scales_um)

    def estimator(self, network: nn.Module, calibration: Calibration, provenance: Mapping[str, Any]) -> Estimator:
        """A trained network as an estimator, which puts it into its mode for answers."""
        between = self.config.scales_drawn == "between"
        metadata = EstimatorMetadata(
            self.targets,
            self.scales_um,
            len(self.film_ids),
            calibration,
            provenance,
            network=self.config.network,
            width=self.config.width,
            between=between,
            microscope=self.config.microscope,
            constants=self.constants,
            protocols=self.protocols,
        )
        return Estimator(network, metadata)

    def _values(self, store: Store, ids: Sequence[str]) -> NDArray[np.float64]:
        """The targets of films (n, targets), SI, in the order of `ids`."""
        names = [target.name for target in self.targets]
        table = store.table(["film_id", *names], pc.field("film_id").isin(ids))
        places = {film_id: place for place, film_id in enumerate(table["film_id"].to_pylist())}
        order = [places[film_id] for film_id in ids]
        return np.stack([table[name].to_numpy()[order] for name in names], axis=1)
