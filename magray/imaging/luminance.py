"""From the samples of a picture file to grey values, as a person who looks at the picture sees them."""

import numpy as np
from numpy.typing import NDArray

from magray.errors import UserError

MAX_MEGAPIXELS = 64.0
BYTES_PER_PIXEL = 8  # of memory for the samples of one pixel on average: four channels of 16 bits, or a float64
WEIGHTS = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601


def check_size(width: int, height: int, pixel_bytes: float, max_megapixels: float) -> None:
    """Raise UserError if a picture is too large to be decoded. To be called before memory is taken for it."""
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise UserError(
            f"has {width} × {height} pixels, more than {max_megapixels:g} megapixels; crop or shrink it, "
            f"or ask for it with --max-megapixels {np.ceil(megapixels):.0f}"
        )
    if megapixels * pixel_bytes > max_megapixels * BYTES_PER_PIXEL:
        raise UserError(
            f"would take {megapixels * pixel_bytes:.0f} MB of memory, {pixel_bytes:g} bytes a pixel, more than "
            f"{max_megapixels * BYTES_PER_PIXEL:.0f} MB; save one channel of it as a grey picture"
        )


def shares(samples: NDArray[np.generic], bits: int) -> NDArray[np.float32]:
    """Return whole numbers as shares of the largest that `bits` can hold, floating-point ones as they are."""
    values = samples.astype(np.float32)
    if np.issubdtype(samples.dtype, np.integer):
        values /= np.float32(2.0 ** (bits - np.issubdtype(samples.dtype, np.signedinteger)) - 1)
    return values


def luminance(red: NDArray[np.float32], green: NDArray[np.float32], blue: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the grey value of a colour."""
    grey = WEIGHTS[0] * red
    grey += WEIGHTS[1] * green
    grey += WEIGHTS[2] * blue
    return grey


def check_opaque(transparent: NDArray[np.bool_]) -> None:
    """Raise UserError if any pixel is transparent: what grey value it has depends on what lies behind it."""
    if transparent.any():
        raise UserError(
            f"has {np.count_nonzero(transparent)} transparent pixels, which have no grey value of their own; "
            "crop it to what is opaque, or save it without transparency"
        )


def check_single(pictures: int | str) -> None:
    """Raise UserError if a file holds several pictures: which one is to be measured is not ours to choose."""
    if pictures != 1:
        raise UserError(f"holds a stack of {pictures} pictures; save the one to be measured by itself")


def upright(pixels: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Return pixels (h, w, …) turned as the Orientation tag of EXIF and TIFF says, 1 to 8; others leave them as is."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
