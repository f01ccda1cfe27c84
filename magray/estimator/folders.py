"""The folders of estimators: their files, and those that come with magray."""

import hashlib
from pathlib import Path

SHIPPED = Path(__file__).parent / "pretrained"  # a folder for each pretrained estimator, by its name
ANY_FILM = "any-film"  # the one of every material: `magray.estimator.any_film`
WEIGHTS, DESCRIPTION, PICTURES = "network.safetensors", "estimator.json", "pictures.safetensors"


def shipped() -> list[str]:
    """Return the names of the pretrained estimators of one material."""
    return sorted(folder.name for folder in SHIPPED.iterdir() if folder.is_dir() and folder.name != ANY_FILM)


def folder_of(estimator: str | Path) -> Path:
    """Return the folder of an estimator: the one that comes with magray if it has this name."""
    if isinstance(estimator, str) and estimator in (ANY_FILM, *shipped()):
        return SHIPPED / estimator
    return Path(estimator)


def sha256_of_weights(folder: Path) -> str:
    """Return the SHA-256 of an estimator's weights, in hexadecimal digits."""
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
