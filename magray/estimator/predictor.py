"""A network's predictions in SI units, without error bars."""

import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from magray.errors import UserError
from magray.estimator.inputs import check_length
from magray.estimator.metadata import Target, means_and_stds
from magray.imaging import cells_of, over_views, squares_in
from magray.imaging.microscope import NEEDS_SCALE, Microscope, apply_microscope
from magray.imaging.views import QUARTER_TURNS
from magray.network.branches import ScaleAwareCnn
from magray.network.execution import Estimate, estimate_of

# Pictures through the network at once, rotated ones included. On cores, more would have the kernel clear their memory.
CHUNK, CHUNK_ON_GPU = 16, 2048


class Predictor:
    """A trained network that predicts the values of its `targets`, SI, in the order of its outputs.

    microscope: of the training; pictures of films pass through it. None: they are used as they are.
    """

    def __init__(self, network: nn.Module, targets: tuple[Target, ...], microscope: Microscope | None = None) -> None:
        self.network, self.targets, self.microscope = network.eval(), targets, microscope

    def predict_views(
        self, views: NDArray[Any] | torch.Tensor, scale_um: float | None = None, of_film: int = 1
    ) -> NDArray[np.float64]:
        """Return values (n, targets), SI, for `views` (n, 128, 128) of films, grey values 0…255.

        The views pass through the microscope of the training, if there is one, with reproducible noise; each `of_film`
        successive views are of one film and share an instrument.
        Raises UserError if the scale is missing and the network needs it.
        """
        check_length(scale_um, "scale, µm")
        views = torch.as_tensor(views, device=self.device)
        return self.predict_mz(apply_microscope(views, scale_um, self.microscope, of_film), scale_um)

    def predict_films(self, films: torch.Tensor, scale_um: float, pixel_nm: float) -> NDArray[np.float64]:
        """Return values (n, k, targets), SI, for all views at a scale that tile films (n, ny, nx) uint8.

        It is fastest with films on the device of the network.
        """
        of_film = squares_in(films.shape[1], films.shape[2], cells_of(scale_um, pixel_nm))
        return over_views(lambda shown: self.predict_views(shown, scale_um, of_film), films, scale_um, pixel_nm)

    def predict_mz(self, pictures: torch.Tensor, scale_um: float | None) -> NDArray[np.float64]:
        """Return values (n, targets), SI, for `pictures` (n, 128, 128) of mz, as means over quarter turns.

        Raises UserError if the scale is missing and the network needs it, and if a value is not finite.
        """
        if scale_um is None and isinstance(self.network, ScaleAwareCnn):
            raise UserError(NEEDS_SCALE)
        chunk, estimates = CHUNK_ON_GPU if self.device.type == "cuda" else CHUNK, []
        with torch.inference_mode():
            for some in pictures.split(chunk // QUARTER_TURNS):  # type: ignore[no-untyped-call]
                rotated = torch.cat([some.rot90(turns, (1, 2)) for turns in range(QUARTER_TURNS)])
                scales = torch.full((len(rotated),), scale_um or math.nan, device=self.device)
                of_rotated = self._estimate(rotated, scales).view(QUARTER_TURNS, len(some), -1)
                estimates.append(of_rotated.mean(dim=0).cpu().numpy())
        means, stds = means_and_stds(self.targets)
        values: NDArray[np.float64] = np.concatenate(estimates) * stds + means
        if not np.isfinite(values).all():
            raise UserError("this estimator's values are not finite numbers, so it is of no use; fit it again")
        return values

    @property
    def device(self) -> torch.device:
        """Return the device of the network."""
        return next(self.network.parameters()).device

    @cached_property
    def _estimate(self) -> Estimate:
        return estimate_of(self.network, self.device)
