"""Choose precision, kernels and CUDA graphs for a device."""

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import torch
from torch import nn

from magray.network.branches import forward, has_bfloat16, split_backbone
from magray.network.kernels.blocks import Blocks
from magray.network.kernels.kernels import Compile, compile_for

# Float32 estimates (n, outputs) for pictures (n, 128, 128), −1…1, of scales (n,), µm
Estimate = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExecutionConfig:
    """The options that make steps fast on a device.

    bfloat16: instead of float32. kernels: our own CUDA kernels. compiled: torch.compile, where these are missing.
    graphed: CUDA graphs.
    """

    bfloat16: bool
    kernels: bool = False
    compiled: bool = False
    graphed: bool = False

    @classmethod
    def of(cls, device: torch.device) -> "ExecutionConfig":
        """Return the fastest options that `device` supports."""
        if device.type != "cuda":
            return cls(has_bfloat16(device))
        kernels = _has_kernels(device)
        return cls(has_bfloat16(device), kernels=kernels, compiled=not kernels and _can_compile(), graphed=True)


def estimate_of(network: nn.Module, device: torch.device) -> Estimate:
    """Return the fastest function on `device` that runs a network without gradients."""
    bfloat16 = has_bfloat16(device)
    if _has_kernels(device):
        return kernel_forward(network, compile_for(device), bfloat16)
    return partial(forward, network, bfloat16=bfloat16)


def kernel_forward(network: nn.Module, compile: Compile, bfloat16: bool) -> Estimate:  # noqa: A002
    """Return a function that runs a network by our own kernels, with gradients in training mode only."""
    layers, head = split_backbone(network)
    blocks, dtype = Blocks(layers, compile, bfloat16), torch.bfloat16 if bfloat16 else torch.float32
    return lambda pictures, scales_um: head(blocks(pictures.to(dtype)), scales_um)


def _has_kernels(device: torch.device) -> bool:
    """Return whether our own kernels can run on `device`: CuPy launches them."""
    return device.type == "cuda" and find_spec("cupy") is not None


def _can_compile() -> bool:
    """Return whether torch.compile works for a GPU here; log what is missing if not."""
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    missing = [name for name, found in (("Triton", find_spec("triton")), ("a C compiler", compiler)) if not found]
    if missing:
        log.warning("CuPy, %s: not installed, so fits run at a fraction of their speed", " and ".join(missing))
    return not missing
