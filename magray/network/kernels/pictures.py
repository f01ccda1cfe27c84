"""Pictures of crops by one kernel, as `magray.training.rendering.render` makes them."""

import torch

from magray.imaging import VIEW_SIZE
from magray.network.kernels.kernels import Compile

TILE = 32  # side of the square that a block of threads makes, pixels


class Pictures:
    """A kernel for views (b, 128, 128), −1…1, of crops (b, 5) from films (n, ny, nx) uint8: float32, or bfloat16."""

    def __init__(self, compile: Compile, bfloat16: bool) -> None:  # noqa: A002
        self.dtype = torch.bfloat16 if bfloat16 else torch.float32
        self.kernels = compile(("pictures.cu",), {"VIEW": VIEW_SIZE, "TILE": TILE, "BFLOAT16": int(bfloat16)})

    def __call__(self, images: torch.Tensor, crops: torch.Tensor) -> torch.Tensor:
        views = torch.empty(len(crops), VIEW_SIZE, VIEW_SIZE, dtype=self.dtype, device=images.device)
        grid = ((VIEW_SIZE // TILE) ** 2, len(crops))
        self.kernels("pictures", grid, images, crops.contiguous(), images.shape[1], images.shape[2], views)
        return views
