"""Paths as users write them."""

from pathlib import Path

from magray.errors import UserError


def at_home(path: str | Path) -> Path:
    """Return a path whose ~ is the user's home, as in a shell. Raises UserError if there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{path}: there is no such home; write the whole path") from error
