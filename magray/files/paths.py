"""Paths and URIs as users write them."""

from pathlib import Path

from magray.errors import UserError
from magray.masking import mask


def at_home(path: str | Path) -> Path:
    """Return a path whose ~ is the user's home, as in a shell. Raises UserError if there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{path}: there is no such home; write the whole path") from error


def refuse_credentials(uri: str) -> None:
    """Raise UserError if a URI holds what gives access: a user, a password, a key, a token or a signature."""
    if "://" in uri and mask(uri) != uri:
        raise UserError(
            f"the URI {uri} holds credentials, which would be kept and shown; "
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment instead"
        )
