"""A network's weights in a safetensors file, which is checked against the network before it is loaded."""

import struct
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from magray.errors import UserError
from magray.files.atomic import atomic_write

MAX_HEADER = 2**20  # bytes: hundreds of times the size of the header of a network's weights


def save_weights(network: nn.Module, path: Path) -> None:
    """Write a network's weights to a file.

    safetensors, given the path, would write a temporary file of its own, which remains if the process is killed.
    """
    weights = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(safetensors.torch.save(weights))


def load_weights(network: nn.Module, path: Path) -> None:
    """Load the weights in a file into a network. Raises UserError unless they match it and are finite."""
    try:
        weights = _read(path, network.state_dict())
    except (SafetensorError, ValueError, OSError, struct.error) as error:
        raise UserError(f"{path} does not hold this estimator's weights; remove it and fit again") from error
    if bad := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
        raise UserError(f"{path} has weights that are not finite numbers ({bad[0]}); remove it and fit again")
    network.load_state_dict(weights)


def _read(path: Path, expected: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors in a file. Raises ValueError unless they have the expected names, shapes and types."""
    with path.open("rb") as start:
        (header,) = struct.unpack("<Q", start.read(8))
    if header > MAX_HEADER:
        raise ValueError(f"a header of {header} bytes")
    with safe_open(path, "pt") as file:
        if set(file.keys()) != set(expected):
            raise ValueError("other names")
        if any(file.get_slice(name).get_shape() != list(tensor.shape) for name, tensor in expected.items()):
            raise ValueError("other shapes")
        weights = {name: file.get_tensor(name) for name in expected}
    if any(weights[name].dtype != tensor.dtype for name, tensor in expected.items()):
        raise ValueError("other types")
    return weights
