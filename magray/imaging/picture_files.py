"""Read pictures from microscopes, refuse files without visible domains, and write pictures of films."""

import logging
import stat
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from magray.errors import UserError
from magray.files.atomic import atomic_write
from magray.files.remote import is_url, open_url
from magray.imaging.formats import format_of
from magray.imaging.luminance import MAX_MEGAPIXELS, check_file
from magray.imaging.raster import read_raster
from magray.imaging.scan import Scan, chosen
from magray.imaging.tiff import read_tiff

START = 4096  # bytes of a file that tell its format
OUTER = 0.005  # the fraction of pixels beyond each end of the contrast, so that dead pixels do not matter
MIN_CONTRAST = 0.002  # of the brightest grey value
SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_SETTINGS = threading.Lock()  # Pillow's limit and the filters of warnings are the process's, and not the thread's
logging.getLogger("tifffile").addHandler(logging.NullHandler())  # its problems with a file are reported by UserError


def read_picture(
    path: str | Path, max_megapixels: float = MAX_MEGAPIXELS, channel: str | None = None
) -> NDArray[np.float32]:
    """Return the picture (h, w) in a file of any kind that `read_scans` reads; colour becomes luminance.

    Whole-number grey values of pictures are scaled to 0…1 of what their type can hold; floating-point ones stay as they
    are. Raises UserError as `read_scans` and `check_picture` do, and for several pictures without a `channel`.
    """
    picture = read_scan(path, channel, max_megapixels).values
    check_picture(picture, str(path))
    return picture.astype(np.float32, copy=False)


def read_scan(path: str | Path, channel: str | None = None, max_megapixels: float = MAX_MEGAPIXELS) -> Scan:
    """Return the only picture of a file, or the one that `channel` names: see `magray.imaging.scan.chosen`."""
    scans = read_scans(path, max_megapixels)
    try:
        return chosen(scans, channel)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_scans(path: str | Path, max_megapixels: float = MAX_MEGAPIXELS) -> list[Scan]:
    """Return all pictures of a file, with what it says of them. path: of the file, or its URL.

    PNG, JPEG, GIF, BMP and TIFF are read, and the formats of microscopes and simulators in `magray.imaging.formats`.
    The first bytes tell the format. Raises UserError, with the reason, for a file that holds no picture, or one larger
    than `max_megapixels`, before memory is taken for it.
    """
    try:
        with _opened(path) as file, _SETTINGS:
            scans = _decode(file, max_megapixels)
        if not scans:
            raise UserError("holds no picture")
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    return scans


def check_picture(picture: NDArray[Any], name: str = "picture") -> None:
    """Raise UserError, which begins with `name`, unless `picture` is 2-D, finite, and has some contrast."""
    if picture.ndim != 2 or not picture.size:
        raise UserError(f"{name}: a picture has rows and columns, not the shape {picture.shape}")
    if not np.isfinite(picture).all():
        raise UserError(f"{name}: has values that are not finite numbers; mask or crop them away")
    low, high = grey_range(picture)
    if high - low <= MIN_CONTRAST * max(abs(low), abs(high)):
        raise UserError(f"{name}: has no contrast, so there are no domains to see")


def grey_range(picture: NDArray[Any]) -> tuple[float, float]:
    """Return the grey values of the darkest and the brightest domains, without the outermost 0.5 % of the pixels."""
    low, high = np.quantile(picture, [OUTER, 1 - OUTER])
    return float(low), float(high)


def write_picture(path: str | Path, image: NDArray[np.uint8]) -> None:
    """Write `image` (h, w) as an 8-bit grey picture, in the format of the file's suffix."""
    with atomic_write(Path(path)) as unfinished:
        Image.fromarray(image).save(unfinished, format=Image.registered_extensions()[Path(path).suffix.lower()])


def _opened(path: str | Path) -> IO[bytes]:
    """Return an open file. Raises UserError for what is no file."""
    if is_url(path):
        return open_url(path)
    path = Path(path)
    _check_regular(path)
    return path.open("rb")


def _check_regular(path: Path) -> None:
    """Raise UserError unless `path` is a regular file: pipes and devices may never end."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise UserError("no such file") from None
    if not stat.S_ISREG(mode):
        raise UserError("is a folder; give the pictures in it" if stat.S_ISDIR(mode) else "is no regular file")


def _decode(file: IO[bytes], max_megapixels: float) -> list[Scan]:
    """Return the pictures of a file. The format follows from the file's first bytes, not from its name."""
    start = file.read(START)
    picture = next((name for signature, name in SIGNATURES.items() if start.startswith(signature)), None)
    other = format_of(start) if picture is None else None
    if picture is None and other is None:
        raise UserError(
            "is not a picture; PNG, TIFF, JPEG, GIF and BMP are read, and files of microscopes: .gwy, .gsf, .ibw, "
            ".spm, .sxm, .mdt, .dm3, .dm4, .ovf, .npy and matrices as text"
        )
    check_file(file.seek(0, 2), max_megapixels)
    file.seek(0)
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # Pillow's own; `max_megapixels` replaces it
    try:
        with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
            if other is not None:
                return [replace(scan, format=other.name) for scan in other.read(file.read(), max_megapixels)]
            if picture == "TIFF":
                return read_tiff(file, max_megapixels)
            return read_raster(file, str(picture), max_megapixels)
    except UserError:
        raise
    except MemoryError:
        raise UserError("takes more memory than this machine has; crop or shrink it") from None
    except Exception as error:  # damaged files raise errors of many kinds
        said = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"cannot be read as {picture or (other and other.name)}: {said:.200}") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit
