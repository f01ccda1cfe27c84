"""Checkpoint files."""

import io
from pathlib import Path
from typing import Any

import torch

from magray.files.atomic import atomic_write


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a training state to a file, completely or not at all. Raises OSError if the disk is full.

    torch.save, given the path, would report a full disk as "unexpected pos".
    """
    content = io.BytesIO()
    torch.save(state, content)
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(content.getbuffer())
