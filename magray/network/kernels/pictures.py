"""Pictures of cuts by one kernel, straight from the films: what `magray.training.rendering.render` returns."""

import torch

from magray.imaging import VIEW_SIZE
from magray.network.kernels.kernels import Compile

TILE = 32  # pixels of a side of what a block of threads makes


class Pictures:
    """Views (b, 128, 128), −1…1, of `cuts` (b, 5) from films (n, ny, nx) uint8: float32, or bfloat16."""

    def __init__(self, compile: Compile, bfloat16: bool) -> None:  # noqa: A002
        self.dtype = torch.bfloat16 if bfloat16 else torch.float32
        self.kernels = compile(("pictures.cu",), {"VIEW": VIEW_SIZE, "TILE": TILE, "BFLOAT16": int(bfloat16)})

    def __call__(self, images: torch.Tensor, cuts: torch.Tensor) -> torch.Tensor:
        views = torch.empty(len(cuts), VIEW_SIZE, VIEW_SIZE, dtype=self.dtype, device=images.device)
        grid = ((VIEW_SIZE // TILE) ** 2, len(cuts))
        self.kernels("pictures", grid, images, cuts.contiguous(), images.shape[1], images.shape[2], views)
        return views
