"""The specification of a training: targets, films of a store, scales and settings."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import nn

from magray.estimator.calibration import calibrate
from magray.estimator.metadata import Calibration, ParameterRange, Target, standardised
from magray.estimator.predictor import Predictor
from magray.imaging import cells_of, scale_of
from magray.network.branches import NETWORKS
from magray.store import Store, open_store
from magray.training.config import TrainConfig
from magray.training.crops import FilmBatch
from magray.training.prefetch import FilmChunk, PrefetchBuffer
from magray.training.starting_point import StartingPoint

CALIBRATION_FILMS = 4096  # of the reserved films, where the device cannot hold all: far more than calibration needs


@dataclass(frozen=True)
class TrainingSpec:
    """The input of a training worker as plain data; the worker reads the films from the store itself.

    film_ids: to train on. calibration_ids: to measure errors on. pixel_nm, shape (ny, nx): of both. films_at_once: the
    number of films on the device; None: the worker chooses it. start: None: random weights.
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
    start: StartingPoint | None = None

    @property
    def name(self) -> str:
        """Return a name that depends on the content only, by which checkpoints are found again."""
        content = asdict(replace(self, start=None))
        del content["start"]  # fits from random weights keep their names
        if self.start is not None:
            content["start"] = self.start.sha256
        return "fit-" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @contextmanager
    def films(self, device: torch.device, at_once: int) -> Iterator[FilmBatch]:
        """Yield the films on a device, with their targets: all of them, or a stream that holds `at_once` films."""
        store = open_store(self.store_uri)
        targets = standardised(self._values(store, self.film_ids), self.targets)
        sides = tuple(cells_of(scale, self.pixel_nm) for scale in self.scales_um)
        pixel_um = scale_of(1, self.pixel_nm)
        if at_once >= len(self.film_ids):
            images = torch.from_numpy(store.images(self.film_ids)).to(device)
            yield FilmBatch(images, targets.to(device), sides, pixel_um)
            return
        images = torch.zeros((at_once, *self.shape), dtype=torch.uint8, device=device)
        streamed = torch.zeros((at_once, len(self.targets)), device=device)
        with PrefetchBuffer(images, streamed, targets, self._reader(store, at_once)) as stream:
            yield FilmBatch(images, streamed, sides, pixel_um, stream)

    def _reader(self, store: Store, at_once: int) -> Callable[[int], Iterator[FilmChunk]]:
        """Return a function that reads the films in the order of an epoch, at most a chunk ahead."""
        from magray.training.loader import epoch_films  # with Ray Data, which a fit of all films does without

        row_index, seed = store.row_index(self.film_ids), self.config.seed
        return lambda epoch: epoch_films(self.store_uri, row_index, self.shape, (seed, epoch), at_once // 2)

    def network(self) -> nn.Module:
        """Return an untrained network."""
        return NETWORKS[self.config.network](len(self.targets), self.config.width)

    def initialise(self, network: nn.Module) -> None:
        """Set the weights of a new network to those of the starting point, if there is one."""
        if self.start is not None:
            self.start.initialise(network, self.targets, self.scales_um)

    def calibration(self, network: nn.Module, at_once: int) -> Calibration:
        """Return the errors of a trained network on the calibration films.

        at_once: films that the device holds; where these are not all training films, some calibration films do.
        """
        store, ids = open_store(self.store_uri), self.calibration_ids
        if at_once < len(self.film_ids):
            ids = ids[: min(at_once, CALIBRATION_FILMS)]
        images, values = store.images(ids), self._values(store, ids)
        predictor = Predictor(network, self.targets, self.config.microscope)
        return calibrate(predictor, images, values, self.pixel_nm, self.scales_um)

    def _values(self, store: Store, ids: Sequence[str]) -> NDArray[np.float64]:
        """Return the targets of films (n, targets), SI, in the order of `ids`."""
        names = [target.name for target in self.targets]
        table = store.table(["film_id", *names], pc.field("film_id").isin(ids))
        rows = {film_id: row for row, film_id in enumerate(table["film_id"].to_pylist())}
        return target_values(table, names)[[rows[film_id] for film_id in ids]]


def target_values(films: pa.Table, names: Sequence[str]) -> NDArray[np.float64]:
    """Return columns of a table of films as a matrix (n, names), SI."""
    return np.stack([films[name].to_numpy() for name in names], axis=1)
