"""The baseline without a neural network: a polynomial of a picture's wall density and domain period.

Both are in units of length, so that the scale of the picture is taken into account, and both are what a physicist would
measure by hand. A cubic polynomial of their logarithms, fitted by least squares, makes a parameter of them.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from magray.errors import UserError
from magray.imaging import VIEW_SIZE, over_views
from magray.imaging.microscope import Microscope, apply_microscope
from magray.store import Store
from magray.training.fit import check_finite

DEGREE = 3
POWERS = (DEGREE + 1) * (DEGREE + 2) // 2  # of two numbers
FILMS = 2000  # at most: ten numbers need no more
Features = NDArray[np.float64]


@dataclass(frozen=True)
class Baseline:
    """The polynomial. centre, spread: of the two logarithms. weights: of `_powers` of what they standardise.

    microscope: that films are seen through; None if they are seen as they are.
    """

    centre: Features
    spread: Features
    weights: Features
    microscope: Microscope | None = None

    @classmethod
    def fit(
        cls,
        store: Store,
        target: str,
        scales_um: Sequence[float],
        device: torch.device,
        microscope: Microscope | None = None,
    ) -> "Baseline":
        """Fit the baseline to the training films of a store. Raises UserError if there are too few."""
        films = store.films("train", ["film_id", "pixel_nm", target]).slice(0, FILMS)
        check_finite(store, films, ["pixel_nm", target])
        images = torch.from_numpy(store.images(films["film_id"].to_pylist())).to(device)
        x, y = [], []
        for scale in scales_um:
            measure = partial(_wall_features, scale_um=scale, microscope=microscope)
            found = over_views(measure, images, scale, films["pixel_nm"][0].as_py())
            x.append(found.reshape(-1, 2))
            y.append(np.repeat(films[target].to_numpy(), found.shape[1]))
        logs, values = np.concatenate(x), np.concatenate(y)
        if len(logs) < POWERS:
            raise UserError(
                f"store {store.uri} has {len(images)} training films, too few for a baseline; simulate more"
            )
        centre, spread = logs.mean(axis=0), logs.std(axis=0) + 1e-12
        weights, *_ = np.linalg.lstsq(_powers((logs - centre) / spread), values, rcond=None)
        return cls(centre, spread, weights, microscope)

    def predict_views(self, shown: torch.Tensor, scale_um: float) -> Features:
        """Return values (n, 1), SI, for views (n, 128, 128), grey values 0…255, at a scale."""
        standardised = (_wall_features(shown, scale_um, self.microscope) - self.centre) / self.spread
        # beyond what it was fitted to a cubic runs away
        return np.asarray(_powers(np.clip(standardised, -3, 3)) @ self.weights[:, None])


def _wall_features(shown: torch.Tensor, scale_um: float, microscope: Microscope | None = None) -> Features:
    """Return (n, 2): logarithms of walls per µm and of the mean wave number of mz, 2π/µm, of views (n, 128, 128).

    Walls: changes of sign along rows and columns. A view without any has half a wall, and the wave number of its side.
    """
    mz = apply_microscope(shown, scale_um, microscope)
    up = mz > 0
    crossings = (up[:, 1:] != up[:, :-1]).sum((1, 2)) + (up[:, :, 1:] != up[:, :, :-1]).sum((1, 2))
    walls = (crossings.clamp(min=1) - 0.5 * (crossings == 0)) / (2 * VIEW_SIZE * scale_um)
    power = torch.fft.rfft2(mz - mz.mean((1, 2), keepdim=True)).abs().square()
    ky = torch.fft.fftfreq(VIEW_SIZE, device=mz.device)[:, None]
    kx = torch.fft.rfftfreq(VIEW_SIZE, device=mz.device)
    k = torch.hypot(kx, ky) * (VIEW_SIZE / scale_um)
    total = power.sum((1, 2))
    mean_k = torch.where(
        total > 0, (power * k).sum((1, 2)) / total.clamp(min=1e-12), torch.full_like(total, 1 / scale_um)
    )
    return np.asarray(torch.stack([walls.log(), mean_k.log()], dim=1).double().cpu().numpy())


def _powers(x: Features) -> Features:
    """Return (n, POWERS): all products of the two columns up to DEGREE factors."""
    columns = [np.ones(len(x))]
    for degree in range(1, DEGREE + 1):
        columns += [
            np.prod(x[:, factors], axis=1) for factors in itertools.combinations_with_replacement((0, 1), degree)
        ]
    return np.stack(columns, axis=1)
