"""Wall ablation: redraw films with walls of another width, to tell the effect of walls from that of domains.

A picture of a larger area shows smaller domains with more curved walls, and thinner walls. Redrawn films tell the two
apart: their domains stay where they are, and their walls become as wide as one likes. For an estimator of one scale a
and pictures of a scale b:

    neither   cropped at a, unchanged: as in training
    domains   cropped at b, walls b/a times as wide: as wide on the picture as in training
    walls     cropped at a, walls a/b times as wide: as wide on the picture as at b
    both      cropped at b, unchanged: a picture of scale b

A wall is mz = tanh(x / width), so that artanh mz is the distance from it in its widths. Redrawing exchanges the ideal
distances, and keeps what a film has beside those: its ripples, and walls that are not ideal.
"""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from magray.estimator.estimator import Estimator
from magray.evaluation.metrics import bias, mae, r2
from magray.evaluation.study import Trial
from magray.files.parquet import complete
from magray.films import films_of
from magray.imaging import to_mz
from magray.network.branches import own_device
from magray.runtime.connect import connect
from magray.runtime.resources import gpus
from magray.store import Store, open_store

FILMS = 200  # test films at most
GREY = 0.5 / 127.5  # of mz: what rounding to a grey value hides
FARTHEST = math.atanh(1 - GREY)  # from a wall, in its widths, that a picture tells
FILE = "wall_ablation.parquet"  # of a project
BORDER = 48  # cells of the other side of a periodic film that a wall there may be near to

WALL_ABLATION = complete(
    [
        ("train_set", pa.string()),
        ("seed", pa.int64()),
        ("test_scale", pa.float64()),  # µm
        ("changed", pa.string()),  # neither, domains, walls, both
        ("parameter", pa.string()),
        ("unit", pa.string()),
        ("r2", pa.float64()),
        ("mae", pa.float64()),
        ("bias", pa.float64()),
    ]
)


def ablate(store_uri: str, estimators: Mapping[Trial, str | Path], test_scales: Sequence[float]) -> pa.Table:
    """Return WALL_ABLATION of estimators that were trained at one scale, by folder, at the others of `test_scales`, µm.

    On a GPU, if the cluster has any. Raises UserError if one cannot be loaded, or a scale does not fit into the films.
    """
    connect()
    folders = {trial: str(Path(folder).absolute()) for trial, folder in estimators.items()}
    order = (store_uri, folders, tuple(test_scales))
    if gpus() < 1:
        return _ablate(*order)
    task: Any = ray.remote(_ablate).options(num_gpus=1, num_cpus=1)
    table: pa.Table = ray.get(task.remote(*order))
    return table


def _ablate(store_uri: str, folders: Mapping[Trial, str], test_scales: tuple[float, ...]) -> pa.Table:
    device, store, rows = own_device(), open_store(store_uri), []
    drawn = _RewidenedFilms.of(store, store.films("test").slice(0, FILMS), device)
    for trial, folder in folders.items():
        estimator = Estimator.load(folder, device)
        (trained,) = estimator.metadata.train_scales_um
        for scale in (scale for scale in test_scales if scale != trained):
            variants = {
                "neither": (trained, 1.0),
                "domains": (scale, scale / trained),
                "walls": (trained, trained / scale),
                "both": (scale, 1.0),
            }
            for changed, (shown_scale, factor) in variants.items():
                scores = _scores(estimator, drawn, shown_scale, factor)
                key = {**trial._asdict(), "test_scale": scale, "changed": changed}
                rows += [key | score for score in scores]
    return pa.Table.from_pylist(rows, schema=WALL_ABLATION)


@dataclass(frozen=True)
class _RewidenedFilms:
    """Films whose walls can have any width.

    images: (n, ny, nx) uint8. distances: as many, to the next wall, cells, above 0 in bright domains. widths: (n,) of
    the films' own walls, cells.
    """

    films: pa.Table
    images: torch.Tensor
    distances: torch.Tensor
    widths: torch.Tensor

    @classmethod
    def of(cls, store: Store, films: pa.Table, device: torch.device) -> "_RewidenedFilms":
        """Load films of a store to a device."""
        images = store.images(films["film_id"].to_pylist())
        with ThreadPoolExecutor() as pool:  # SciPy lets go of the interpreter meanwhile
            distances = np.stack(list(pool.map(distances_to_walls, images)))
        widths = [np.sqrt(film.Aex / film.Keff) / film.cell_size[0] for film in films_of(films)]
        return cls(
            films,
            torch.from_numpy(images).to(device),
            torch.from_numpy(distances).to(device),
            torch.tensor(widths, dtype=torch.float32, device=device),
        )

    def pictures(self, factor: float) -> torch.Tensor:
        """Return pictures (n, ny, nx) uint8, with walls `factor` times as wide as the films' own."""
        return rewiden(self.images, self.distances, self.widths, factor)


def _scores(estimator: Estimator, drawn: _RewidenedFilms, scale: float, factor: float) -> list[dict[str, Any]]:
    """Return an estimator's errors, by target, for views at a scale whose walls are `factor` times as wide."""
    pixel_nm, scores = drawn.films["pixel_nm"][0].as_py(), []
    estimated = estimator.predict_films(drawn.pictures(factor), scale, pixel_nm)
    for number, target in enumerate(estimator.targets):
        true = np.repeat(drawn.films[target.name].to_numpy(), estimated.shape[1])
        errors = {name: score(true, estimated[:, :, number].ravel()) for name, score in SCORES.items()}
        scores.append({"parameter": target.name, "unit": target.unit} | errors)
    return scores


SCORES = {"r2": r2, "mae": mae, "bias": bias}


def distances_to_walls(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return distances to the nearest wall (ny, nx), in cells; negative in dark domains, infinite without walls."""
    up = np.pad(image > 127, BORDER, mode="wrap")
    if up.all() or not up.any():
        return np.where(image > 127, np.float32(np.inf), np.float32(-np.inf))
    inside = np.where(up, distance_transform_edt(up) - 0.5, 0.5 - distance_transform_edt(~up))
    return np.asarray(inside[BORDER:-BORDER, BORDER:-BORDER], np.float32)


def rewiden(images: torch.Tensor, distances: torch.Tensor, widths: torch.Tensor, factor: float) -> torch.Tensor:
    """Return pictures (n, ny, nx) uint8 with walls `factor` times as wide as `widths` (n,), and unchanged details.

    distances: of `distances_to_walls`.
    """

    def ideal(width: torch.Tensor) -> torch.Tensor:
        return (distances / width[:, None, None]).clamp(-FARTHEST, FARTHEST)

    mz, as_they_are = to_mz(images.float()), ideal(widths)
    low, high = (torch.atanh((mz + way).clamp(-1, 1)) for way in (-GREY, GREY))
    details = as_they_are.clamp(low, high) - as_they_are
    return ((torch.tanh(ideal(widths * factor) + details) + 1) * 127.5).round().to(torch.uint8)
