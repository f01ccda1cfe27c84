"""Views of films at any angle and size by one kernel: what `magray.training.any_film.views.turned_views` computes."""

import torch

from magray.imaging import VIEW_SIZE
from magray.network.kernels.kernels import THREADS, Compile


class TurnedViews:
    """Views (b, 128, 128) float32 of films (n, ny, nx) uint8. reach: cells that the Gaussian is summed over."""

    def __init__(self, compile: Compile, reach: int) -> None:  # noqa: A002
        self.kernels = compile(("turned.cu",), {"VIEW": VIEW_SIZE, "REACH": reach})

    def __call__(self, images: torch.Tensor, index: torch.Tensor, geometry: torch.Tensor) -> torch.Tensor:
        """Return the views of the films `index` (b,) that `geometry` (b, 8) places."""
        views = torch.empty(len(index), VIEW_SIZE, VIEW_SIZE, device=images.device)
        grid, size = (VIEW_SIZE * VIEW_SIZE // THREADS, len(index)), images.shape[1:]
        self.kernels("turned", grid, images, index.contiguous(), geometry.contiguous(), size[0], size[1], views)
        return views
