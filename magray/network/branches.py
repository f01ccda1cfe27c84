"""The paper's CNN, and a variant that is conditioned on the scale of a view.

Six blocks of 3 × 3 convolution (16, 32, 64, 64, 128, 128 filters), ReLU, batch norm and 2 × 2 max pool reduce a view of
128 × 128 to 2 × 2; one fully connected layer turns these features into estimates. The width of a network multiplies the
numbers of filters.
"""

from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
from torch import nn

FILTERS = (16, 32, 64, 64, 128, 128)
LAST_SIDE = 2  # 128 halved six times
HIDDEN = 64  # units between the scale and its gains and shifts
NetworkName = Literal["paper", "scale-aware"]


class ScaleAwareCnn(nn.Module):
    """The paper's CNN with features that are conditioned on the scale by FiLM: a gain and a shift of each.

    The same stripes on a view are broad domains at a large scale and narrow ones at a small scale; the view alone does
    not distinguish them. Before training all gains are 1 and shifts 0, as in the paper's CNN.
    """

    def __init__(self, outputs: int, width: float = 1.0) -> None:
        super().__init__()
        self.blocks, features = _blocks(width), features_of(width)
        self.scale = nn.Sequential(nn.Linear(1, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * features))
        for parameter in self.scale[-1].parameters():
            nn.init.zeros_(parameter)
        self.estimates = nn.Linear(features, outputs)

    def forward(self, views: torch.Tensor, scales_um: torch.Tensor) -> torch.Tensor:
        """Return standardised estimates (n, outputs) from views (n, 1, 128, 128), −1…1, of scales (n,) in µm."""
        return self.head(self.blocks(views), scales_um)

    def head(self, features: torch.Tensor, scales_um: torch.Tensor) -> torch.Tensor:
        """Return estimates (n, outputs) from the features of views (n, features) and their scales (n,) in µm."""
        with torch.autocast(features.device.type, enabled=False):  # bfloat16 resolves a scale to 0.4 % only
            gain, shift = self.modulation(scales_um)
            estimates: torch.Tensor = self.estimates(features.float() * (1 + gain) + shift)
        return estimates

    def modulation(self, scales_um: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what is added to a gain of 1, and the shift, of every feature (n, features) at scales (n,) in µm."""
        gain, shift = self.scale(scales_um[:, None].float().log2()).chunk(2, dim=1)
        return gain, shift


def paper_cnn(outputs: int, width: float = 1.0) -> nn.Sequential:
    """Return the paper's network, from views (n, 1, 128, 128), −1…1, to standardised estimates (n, outputs)."""
    return nn.Sequential(*_blocks(width), nn.Linear(features_of(width), outputs))


def features_of(width: float) -> int:
    """Return the number of features that the blocks make of a view."""
    return _filters_of(width)[-1] * LAST_SIDE**2


def _filters_of(width: float) -> tuple[int, ...]:
    """Return the filters of each block of a network `width` times as wide as the paper's."""
    return tuple(round(width * filters) for filters in FILTERS)


NETWORKS: dict[NetworkName, Callable[[int, float], nn.Module]] = {"paper": paper_cnn, "scale-aware": ScaleAwareCnn}


def forward(network: nn.Module, pictures: torch.Tensor, scales_um: torch.Tensor, bfloat16: bool) -> torch.Tensor:
    """Return float32 estimates (n, outputs) for `pictures` (n, 128, 128), −1…1, of `scales_um` (n,).

    bfloat16: compute in it instead of float32; see `has_bfloat16`.
    """
    with torch.autocast(pictures.device.type, torch.bfloat16, enabled=bfloat16):
        views = pictures[:, None]
        scale_conditioned = isinstance(network, ScaleAwareCnn)
        estimates: torch.Tensor = network(views, scales_um) if scale_conditioned else network(views)
    return estimates.float()


def split_backbone(network: nn.Module) -> tuple[nn.Sequential, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]:
    """Return the layers from views to features, and the function from features and scales (n,), µm, to estimates."""
    if isinstance(network, ScaleAwareCnn):
        return network.blocks, network.head
    assert isinstance(network, nn.Sequential)
    *layers, last = network
    return nn.Sequential(*layers), lambda features, _: cast(torch.Tensor, last(features))


def own_device() -> torch.device:
    """Return the GPU of this process, or the CPU if it has none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Return whether `device` multiplies bfloat16 natively: GPUs since 2020, CPUs with AVX512-BF16 or AMX.

    There it doubles the speed; elsewhere it is emulated, and slow.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def blocks(filters: Sequence[int]) -> nn.Sequential:
    """Return blocks with so many filters, from views (n, 1, 128, 128) to maps half as wide after each block."""
    layers: list[nn.Module] = []
    for before, after in zip((1, *filters), filters, strict=False):
        layers += [
            nn.Conv2d(before, after, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(after),
            nn.MaxPool2d(2),
        ]
    made = nn.Sequential(*layers)
    # Views of one channel have both layouts, so that the layout of the weights decides: channels_last halves the time.
    made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return made


def _blocks(width: float) -> nn.Sequential:
    """Return the layers from views (n, 1, 128, 128) to features (n, `features_of(width)`)."""
    return nn.Sequential(*blocks(_filters_of(width)), nn.Flatten())
