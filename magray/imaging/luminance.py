"""Convert the samples of a picture file to grey values, as a viewer shows them."""

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from magray.errors import UserError

Kind = TypeVar("Kind", bound=np.generic)

MAX_MEGAPIXELS = 64.0
BYTES_PER_PIXEL = 4  # of decoded samples, on average: as many as in the float32 result
BAND = 1 << 20  # pixels that are converted at once, so that intermediate results take little memory
WEIGHTS = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601


def check_size(width: int, height: int, pixel_bytes: int, max_megapixels: float) -> None:
    """Raise UserError if a picture is too large. To be called before memory is taken for it."""
    megapixels = width * height / 1e6
    if not megapixels <= max_megapixels:
        raise UserError(
            f"has {width} × {height} pixels, more than {max_megapixels:g} megapixels; crop or shrink it, "
            f"or ask for it with --max-megapixels {math.ceil(megapixels)}"
        )
    if pixel_bytes > BYTES_PER_PIXEL and megapixels * pixel_bytes > max_megapixels * BYTES_PER_PIXEL:
        raise UserError(
            f"has {pixel_bytes} bytes a pixel, {megapixels * pixel_bytes:.0f} MB in all, more than "
            f"{max_megapixels * BYTES_PER_PIXEL:.0f} MB; save it in fewer channels or bits, crop or shrink it, "
            f"or ask for it with --max-megapixels {math.ceil(megapixels * pixel_bytes / BYTES_PER_PIXEL)}"
        )


def check_file(file_bytes: int, max_megapixels: float) -> None:
    """Raise UserError for a file that is too large for a picture: parts of it may be read into memory undecoded."""
    if file_bytes > (max_megapixels * BYTES_PER_PIXEL + 1) * 1e6:
        raise UserError(
            f"is a file of {file_bytes / 1e6:.0f} MB, too large for a picture; save the one to be measured by itself, "
            f"or ask for it with --max-megapixels {math.ceil(file_bytes / BYTES_PER_PIXEL / 1e6)}"
        )


def shares(samples: NDArray[np.generic], bits: int) -> NDArray[np.float32]:
    """Return integers as fractions of the largest that `bits` can hold, floating-point numbers unchanged."""
    values = samples.astype(np.float32)
    if np.issubdtype(samples.dtype, np.integer):
        values /= np.float32(2.0 ** (bits - np.issubdtype(samples.dtype, np.signedinteger)) - 1)
    return values


def luminance(colours: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the grey value of red, green and blue."""
    red, green, blue = (np.float32(weight) * colour for weight, colour in zip(WEIGHTS, colours, strict=True))
    grey: NDArray[np.float32] = red + green + blue
    return grey


def colours_of(rgb: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Return colours (h, w, 3), or None if red, green and blue are alike everywhere."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    return None if np.array_equal(red, green) and np.array_equal(green, blue) else rgb


def in_bands(
    grey: Callable[[NDArray[np.generic]], NDArray[np.float32]], samples: NDArray[np.generic]
) -> NDArray[np.float32]:
    """Return `grey` of samples (h, w, channels), some rows at a time."""
    picture = np.empty(samples.shape[:2], np.float32)
    rows = max(1, BAND // max(1, samples.shape[1]))
    for top in range(0, len(samples), rows):
        picture[top : top + rows] = grey(samples[top : top + rows])
    return picture


def check_opaque(transparent: NDArray[np.bool_]) -> None:
    """Raise UserError if any pixel is transparent: its grey value depends on the background."""
    if transparent.any():
        raise UserError(
            f"has {np.count_nonzero(transparent)} transparent pixels, which have no grey value of their own; "
            "crop it to what is opaque, or save it without transparency"
        )


def check_single(pictures: int | str) -> None:
    """Raise UserError if a file holds several pictures, since only the user knows which one to measure."""
    if pictures != 1:
        raise UserError(f"holds a stack of {pictures} pictures; save the one to be measured by itself")


def upright(pixels: NDArray[Kind], orientation: int) -> NDArray[Kind]:
    """Return pixels (h, w, …) turned as the Orientation tag of EXIF and TIFF says, 1 to 8; others leave them as is."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
