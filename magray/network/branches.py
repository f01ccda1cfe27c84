"""The paper's CNN, and its sibling that is told the scale of a view.

Six blocks of 3 × 3 convolution (16, 32, 64, 64, 128, 128 filters), ReLU, batch norm and 2 × 2 max pool halve a view of
128 × 128 to 2 × 2; one fully connected layer makes the estimates of it. Networks of another width have so
many times the filters.
"""

from collections.abc import Callable
from typing import Literal, cast

import torch
from torch import nn

FILTERS = (16, 32, 64, 64, 128, 128)
LAST_SIDE = 2  # 128 halved six times
HIDDEN = 64  # units between the scale and what it does
NetworkName = Literal["paper", "scale-aware"]


class ScaleAwareCnn(nn.Module):
    """The paper's CNN, whose last layer has other weights at each scale (FiLM: a gain and a shift of every feature).

    The same stripes on a view mean broad domains at a large scale and narrow ones at a small scale; views alone do not
    tell which. An untrained one answers as the paper's does.
    """

    def __init__(self, outputs: int, width: float = 1.0) -> None:
        super().__init__()
        self.blocks, features = _blocks(width), features_of(width)
        self.scale = nn.Sequential(nn.Linear(1, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * features))
        for parameter in self.scale[-1].parameters():
            nn.init.zeros_(parameter)
        self.estimates = nn.Linear(features, outputs)

    def forward(self, views: torch.Tensor, scales_um: torch.Tensor) -> torch.Tensor:
        """Standardised estimates (n, outputs) from views (n, 1, 128, 128), −1…1, that are `scales_um` (n,) wide."""
        return self.head(self.blocks(views), scales_um)

    def head(self, features: torch.Tensor, scales_um: torch.Tensor) -> torch.Tensor:
        """The estimates from what the blocks make of the views (n, features)."""
        with torch.autocast(features.device.type, enabled=False):  # bfloat16 would know a scale to 0.4 % only
            gain, shift = self.scale(scales_um[:, None].float().log2()).chunk(2, dim=1)
            estimates: torch.Tensor = self.estimates(features.float() * (1 + gain) + shift)
        return estimates


def paper_cnn(outputs: int, width: float = 1.0) -> nn.Sequential:
    """The network from views (n, 1, 128, 128), −1…1, to `outputs` standardised estimates (n, outputs)."""
    return nn.Sequential(*_blocks(width), nn.Linear(features_of(width), outputs))


def features_of(width: float) -> int:
    """Return the number of features that the blocks make of a view."""
    return filters_of(width)[-1] * LAST_SIDE**2


def filters_of(width: float) -> tuple[int, ...]:
    """Return the filters of each block of a network `width` times as wide as the paper's."""
    return tuple(round(width * filters) for filters in FILTERS)


NETWORKS: dict[NetworkName, Callable[[int, float], nn.Module]] = {"paper": paper_cnn, "scale-aware": ScaleAwareCnn}


def forward(network: nn.Module, pictures: torch.Tensor, scales_um: torch.Tensor, bfloat16: bool) -> torch.Tensor:
    """Float32 estimates (n, outputs) for `pictures` (n, 128, 128), −1…1, of `scales_um` (n,).

    bfloat16: in place of float32; see `has_bfloat16`.
    """
    with torch.autocast(pictures.device.type, torch.bfloat16, enabled=bfloat16):
        views = pictures[:, None]
        scale_conditioned = isinstance(network, ScaleAwareCnn)
        estimates: torch.Tensor = network(views, scales_um) if scale_conditioned else network(views)
    return estimates.float()


def split_backbone(network: nn.Module) -> tuple[nn.Sequential, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]:
    """The layers from views to features, and what makes estimates of features and scales (n,) in µm."""
    if isinstance(network, ScaleAwareCnn):
        return network.blocks, network.head
    assert isinstance(network, nn.Sequential)
    *layers, last = network
    return nn.Sequential(*layers), lambda features, _: cast(torch.Tensor, last(features))


def own_device() -> torch.device:
    """The GPU that this process has, or else its cores."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Return whether `device` multiplies bfloat16 natively: GPUs since 2020, CPUs with AVX512-BF16 or AMX.

    It doubles the speed there, and is emulated, slowly, elsewhere.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _blocks(width: float) -> nn.Sequential:
    """From views to `features_of(width)` numbers each."""
    layers: list[nn.Module] = []
    for channels, filters in zip((1, *filters_of(width)), filters_of(width), strict=False):
        layers += [
            nn.Conv2d(channels, filters, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(filters),
            nn.MaxPool2d(2),
        ]
    blocks = nn.Sequential(*layers, nn.Flatten())
    # The weights' layout decides that of all that follows, for views of one channel have both; it halves the time.
    blocks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return blocks
