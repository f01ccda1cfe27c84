"""Why an estimator fails at another scale: because domains look smaller there, or because walls look thinner?

A picture of a larger area shows smaller domains with more curved walls, and thinner walls. Redrawn films tell the two
apart: their domains stay where they are, and their walls become as wide as one likes. For an estimator of one scale a
and pictures of a scale b:

    neither   cut at a, walls redrawn as they are: what redrawing alone does
    domains   cut at b, walls b/a times as wide: as wide on the picture as in training
    walls     cut at a, walls a/b times as wide: as wide on the picture as at b
    both      cut at b, walls redrawn as they are: what a picture of scale b is
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from magray.campaign import connect
from magray.campaign.devices import gpus
from magray.films import films_of
from magray.imaging import VIEW_SIZE, views
from magray.learning.estimator import Estimator
from magray.learning.network import own_device
from magray.store import Store, open_store
from magray.tolerance.metrics import bias, mae, r2
from magray.tolerance.study import films_to_test

FILMS = 200  # test films at most
BORDER = 48  # cells of the other side of a periodic film that a wall there may be near to

CAUSES = pa.schema(
    [
        ("train_set", pa.string()),
        ("test_scale", pa.float64()),  # µm
        ("changed", pa.string()),  # neither, domains, walls, both
        ("parameter", pa.string()),
        ("unit", pa.string()),
        ("r2", pa.float64()),
        ("mae", pa.float64()),
        ("bias", pa.float64()),
    ]
)


def separate(store_uri: str, train_set: str, folder: str | Path, test_scales: Sequence[float]) -> pa.Table:
    """CAUSES of an estimator that was trained at one scale, at other ones, µm: on a GPU, if the cluster has any.

    Raises UserError if it cannot be loaded, or a scale does not fit into the films.
    """
    connect()
    order = (store_uri, train_set, str(Path(folder).absolute()), tuple(test_scales))
    if gpus() < 1:
        return _separate(*order)
    task: Any = ray.remote(_separate).options(num_gpus=1, num_cpus=1)
    table: pa.Table = ray.get(task.remote(*order))
    return table


def _separate(store_uri: str, train_set: str, folder: str, test_scales: tuple[float, ...]) -> pa.Table:
    device = own_device()
    store, estimator = open_store(store_uri), Estimator.load(folder, device)
    (trained,) = estimator.description.train_scales_um
    films = films_to_test(store).slice(0, FILMS)
    redrawn = cache(lambda factor: torch.from_numpy(_redrawn(store, films, factor)).to(device))
    rows = []
    for scale in (scale for scale in test_scales if scale != trained):
        cuts = {
            "neither": (trained, 1.0),
            "domains": (scale, scale / trained),
            "walls": (trained, trained / scale),
            "both": (scale, 1.0),
        }
        for changed, (shown_scale, factor) in cuts.items():
            shown = views(redrawn(factor), shown_scale, films["pixel_nm"][0].as_py())
            estimated = estimator.predict_views(shown.reshape(-1, VIEW_SIZE, VIEW_SIZE), shown_scale)
            for number, target in enumerate(estimator.targets):
                true = np.repeat(films[target.name].to_numpy(), shown.shape[1])
                errors = {name: score(true, estimated[:, number]) for name, score in SCORES.items()}
                key = {"train_set": train_set, "test_scale": scale, "changed": changed, "parameter": target.name}
                rows.append(key | errors | {"unit": target.unit})
    return pa.Table.from_pylist(rows, schema=CAUSES)


SCORES = {"r2": r2, "mae": mae, "bias": bias}


def _redrawn(store: Store, films: pa.Table, factor: float) -> NDArray[np.uint8]:
    """The films' pictures (n, ny, nx) with walls `factor` times as wide as theirs."""
    images = store.images(films["film_id"].to_pylist())
    widths = [np.sqrt(film.Aex / film.Keff) / film.cell_size[0] * factor for film in films_of(films)]
    drawn = [redraw(image, width) for image, width in zip(images, widths, strict=True)]
    return np.stack(drawn)


def redraw(image: NDArray[np.uint8], width: float) -> NDArray[np.uint8]:
    """A periodic film's picture with the same domains and walls mz = tanh(distance / width), width in cells."""
    up = np.pad(image > 127, BORDER, mode="wrap")
    if up.all() or not up.any():
        return np.where(image > 127, np.uint8(255), np.uint8(0))
    inside = np.where(up, distance_transform_edt(up) - 0.5, 0.5 - distance_transform_edt(~up))
    mz = np.tanh(inside[BORDER:-BORDER, BORDER:-BORDER] / width)
    return np.asarray(np.rint((mz + 1) * 127.5), np.uint8)
