"""Picture files: reading what a microscope wrote, refusing what holds no domains, and writing a film's picture."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from magray.errors import UserError
from magray.whole import whole_file

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
OUTER = 0.005  # the share of pixels beyond each end of the contrast, so that a dead pixel decides nothing
LEAST_CONTRAST = 0.002  # of the brightest grey value
logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what it has to say of a file is said by UserError
_NOT_A_PICTURE = "is not a picture; PNG, TIFF and JPEG are read"


def read_picture(path: str | Path) -> NDArray[np.float32]:
    """The picture (h, w) in a PNG, TIFF or JPEG file of any bit depth; colour becomes luminance.

    Whole-number grey values are scaled to 0…1 of what their type can hold; floating-point ones stay as they are.
    Raises UserError, with the reason, for a file that is no picture, and as `check_picture` does.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    picture = _grey(_decode(path), path)
    check_picture(picture, str(path))
    return picture


def check_picture(picture: NDArray[Any], name: str = "picture") -> None:
    """Raises UserError, which begins with `name`, unless `picture` is 2-D, finite, and has some contrast."""
    if picture.ndim != 2 or not picture.size:
        raise UserError(f"{name}: a picture has rows and columns, not the shape {picture.shape}")
    if not np.isfinite(picture).all():
        raise UserError(f"{name}: has values that are not finite numbers; mask or crop them away")
    low, high = grey_range(picture)
    if high - low <= LEAST_CONTRAST * max(abs(low), abs(high)):
        raise UserError(f"{name}: has no contrast, so there are no domains to see")


def grey_range(picture: NDArray[Any]) -> tuple[float, float]:
    """The grey values of the darkest and of the brightest domains: the outermost 0.5 % of the pixels do not count."""
    low, high = np.quantile(picture, [OUTER, 1 - OUTER])
    return float(low), float(high)


def write_picture(path: str | Path, image: NDArray[np.uint8]) -> None:
    """Writes `image` (h, w) as an 8-bit grey picture, in the format of the file's ending."""
    with whole_file(Path(path)) as unfinished:
        Image.fromarray(image).save(unfinished, format=Image.registered_extensions()[Path(path).suffix.lower()])


def _decode(path: Path) -> NDArray[Any]:
    if path.suffix.lower() in (".tif", ".tiff"):
        try:
            pixels = np.squeeze(tifffile.imread(path))
        except Exception as error:  # each damage, and each codec that is not installed, raises its own kind
            raise UserError(f"{path} cannot be read as TIFF: {error}") from error
        if not pixels.size:
            raise UserError(f"{path} cannot be read as TIFF: it holds no picture")
        return pixels
    try:
        with Image.open(path) as picture:
            if picture.mode in ("P", "CMYK", "YCbCr", "HSV", "LAB"):
                return np.asarray(picture.convert("RGB"))
            return np.asarray(picture.convert("L") if picture.mode == "LA" else picture)
    except UnidentifiedImageError as error:
        raise UserError(f"{path} {_NOT_A_PICTURE}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _grey(pixels: NDArray[Any], path: Path) -> NDArray[np.float32]:
    """Float32 (h, w) from whole-number, boolean or floating-point pixels (h, w) or (h, w, 3 or 4)."""
    if not (np.issubdtype(pixels.dtype, np.number) or pixels.dtype == bool) or np.iscomplexobj(pixels):
        raise UserError(f"{path} {_NOT_A_PICTURE}")
    full = np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1
    grey: NDArray[np.float32] = pixels.astype(np.float32) / np.float32(full)
    if grey.ndim == 3 and grey.shape[-1] in (3, 4):
        return grey[..., :3] @ LUMINANCE
    if grey.ndim == 3:
        raise UserError(f"{path} holds a stack of {len(grey)} pictures; save the one to be measured by itself")
    return grey
