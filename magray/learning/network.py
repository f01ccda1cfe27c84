"""The paper's CNN.

Six blocks of 3 × 3 convolution (16, 32, 64, 64, 128, 128 filters), ReLU, batch norm and 2 × 2 max pool halve a view of
128 × 128 to 2 × 2; one fully connected layer makes the estimates of it.
"""

import torch
from torch import nn

FILTERS = (16, 32, 64, 64, 128, 128)
LAST_SIDE = 2  # 128 halved six times


def paper_cnn(outputs: int) -> nn.Sequential:
    """The network from views (n, 1, 128, 128), −1…1, to `outputs` standardised estimates (n, outputs)."""
    layers: list[nn.Module] = []
    for channels, filters in zip((1, *FILTERS), FILTERS, strict=False):
        layers += [
            nn.Conv2d(channels, filters, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(filters),
            nn.MaxPool2d(2),
        ]
    layers += [nn.Flatten(), nn.Linear(FILTERS[-1] * LAST_SIDE**2, outputs)]
    network = nn.Sequential(*layers)
    # The weights' layout decides that of all that follows, for views of one channel have both; it halves the time.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def forward(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """Float32 estimates (n, outputs) for `pictures` (n, 128, 128), in bfloat16 where the device computes it natively.

    Bfloat16 doubles the speed where it exists (GPUs since 2020, CPUs with AVX512-BF16 or AMX) and is emulated,
    slowly, elsewhere.
    """
    with torch.autocast(pictures.device.type, torch.bfloat16, enabled=has_bfloat16(pictures.device)):
        estimates: torch.Tensor = network(pictures[:, None])
    return estimates.float()


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 natively."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
