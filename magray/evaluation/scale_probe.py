"""A probe of networks: which of the trained scales do the features of a picture reveal?

A network of several scales is not told the scale of a picture. Whether it recognises it all the same shows in its
features, the input of its last layer: multinomial logistic regression reads the scale from those of pictures of
training films at the trained scales, and is then asked about pictures of test films at any scale.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from numpy.typing import NDArray
from torch import nn

from magray.estimator.estimator import Estimator
from magray.evaluation.study import GPU_SHARE, Trial
from magray.files.parquet import complete
from magray.imaging import area_average, cells_of, tiles
from magray.imaging.microscope import apply_microscope
from magray.network.branches import own_device, split_backbone
from magray.runtime.connect import connect
from magray.runtime.resources import gpus
from magray.store import Store, open_store

FILMS = 1000  # of each split, at most: a picture of each at every scale
RIDGE = 1e-3  # of the regression, on standardised features
ITERATIONS = 200
AT_ONCE = 512  # pictures through a network
Scales = NDArray[np.float64]
"""Scales, µm, one for each picture."""

FILE = "scale_probe.parquet"
PROBE = complete(
    [
        ("train_set", pa.string()),
        ("seed", pa.int64()),
        ("test_scale", pa.float64()),  # µm
        ("read_as", pa.float64()),  # geometric mean of the trained scales that pictures are taken for, µm
        (
            "nearby",
            pa.float64(),
        ),  # share of them that are taken for the trained scale itself, or the next on either side
    ]
)


@dataclass(frozen=True)
class ScaleProbe:
    """Multinomial logistic regression of classes on features. weights: (features + 1, classes), the last row a bias."""

    centre: torch.Tensor
    spread: torch.Tensor
    weights: torch.Tensor

    @classmethod
    def fit(cls, features: torch.Tensor, classes: torch.Tensor) -> "ScaleProbe":
        """Fit the probe to features (n, f) of pictures whose class (n,), 0, 1, …, is known; minimised by L-BFGS."""
        centre, spread = features.mean(0), features.std(0) + 1e-6
        x = _with_bias((features - centre) / spread)
        weights = torch.zeros(x.shape[1], int(classes.max()) + 1, device=x.device, requires_grad=True)
        optimizer = torch.optim.LBFGS([weights], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            value = nn.functional.cross_entropy(x @ weights, classes) + RIDGE * weights[:-1].square().sum()
            torch.autograd.backward(value)
            return value

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        return cls(centre, spread, weights.detach())

    def classes(self, features: torch.Tensor) -> torch.Tensor:
        """Return the most probable class (n,) of features (n, f)."""
        return (_with_bias((features - self.centre) / self.spread) @ self.weights).argmax(1)


def run_scale_probe(store_uri: str, estimators: Mapping[Trial, str | Path], test_scales: Sequence[float]) -> pa.Table:
    """Return PROBE of estimators (trial -> folder) of several scales each, at `test_scales`, µm."""
    connect()
    order = (store_uri, {trial: str(Path(folder).absolute()) for trial, folder in estimators.items()}, test_scales)
    if gpus() >= 1:
        probe: Any = ray.remote(_probe_all).options(num_gpus=GPU_SHARE, num_cpus=1)
        rows = ray.get(probe.remote(*order))
    else:
        rows = _probe_all(*order)
    return pa.Table.from_pylist(rows, schema=PROBE)


def _probe_all(store_uri: str, estimators: Mapping[Trial, str], test_scales: Sequence[float]) -> list[dict[str, Any]]:
    """Return the rows of PROBE, on the GPU of this process if it has one."""
    store, device = open_store(store_uri), own_device()
    training, testing = (_films(store, split, device) for split in ("train", "test"))
    rows = []
    for trial, folder in estimators.items():
        estimator = Estimator.load(folder, device)
        features, scales = features_of(estimator, store), estimator.metadata.train_scales_um
        known = [features(training, scale) for scale in scales]
        classes = torch.arange(len(scales), device=device).repeat_interleave(len(training))
        probe = ScaleProbe.fit(torch.cat(known), classes)
        for scale in test_scales:
            taken_for = np.array(scales)[probe.classes(features(testing, scale)).cpu().numpy()]
            rows.append({**trial._asdict(), "test_scale": scale, **_readings(taken_for, scales, scale)})
    return rows


def _readings(taken_for: Scales, trained: Sequence[float], scale: float) -> dict[str, float]:
    """Return the columns of PROBE about pictures at a scale that are taken for some of the trained ones, ascending."""
    below = [one for one in trained if one <= scale][-1:]
    above = [one for one in trained if one >= scale][:1]
    nearby = np.isin(taken_for, [*below, *above])
    return {"read_as": float(np.exp(np.log(taken_for).mean())), "nearby": float(nearby.mean())}


def features_of(estimator: Estimator, store: Store) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """Return a function from films (n, ny, nx) and a scale, µm, to the features (n, f) of one picture of each."""
    backbone, _ = split_backbone(estimator.network)
    pixel_nm = store.films(columns=["pixel_nm"])["pixel_nm"][0].as_py()

    def features(films: torch.Tensor, scale: float) -> torch.Tensor:
        squares = tiles(films, cells_of(scale, pixel_nm))[:, 0]
        pictures = apply_microscope(area_average(squares), scale, estimator.metadata.microscope)
        with torch.inference_mode():
            parts = [backbone(some[:, None]) for some in pictures.split(AT_ONCE)]  # type: ignore[no-untyped-call]
        return torch.cat(parts).clone()

    return features


def _films(store: Store, split: Any, device: torch.device) -> torch.Tensor:
    ids = store.films(split, ["film_id"])["film_id"].to_pylist()[:FILMS]
    return torch.from_numpy(store.images(ids)).to(device)


def _with_bias(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, torch.ones(len(x), 1, device=x.device)], dim=1)
