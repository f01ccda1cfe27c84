"""The file of a training's state."""

import io
from pathlib import Path
from typing import Any

import torch

from magray.files.atomic import atomic_write


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a state to a file, whole or not at all. Raises OSError if the disk takes no more.

    Given the path, torch.save would say "unexpected pos" instead.
    """
    content = io.BytesIO()
    torch.save(state, content)
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(content.getbuffer())
