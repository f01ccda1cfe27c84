"""Read PNG, JPEG, GIF and BMP files with Pillow.

the file says                     the grey value is
1 to 16 bits of grey              the fraction of the largest value
a palette, RGB, YCbCr, CMYK       the luminance of the colour
transparency                      refused, unless every pixel is opaque
several frames                    refused
JPEG of low quality               refused, unless the picture is large
an orientation (EXIF)             that of the upright picture
"""

from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from magray.errors import UserError
from magray.imaging.luminance import (
    check_opaque,
    check_single,
    check_size,
    colours_of,
    in_bands,
    luminance,
    shares,
    upright,
)
from magray.imaging.scan import Scan
from magray.imaging.views import VIEW_SIZE

ORIENTATION = 0x0112
SCANS = 100  # a progressive JPEG has about ten; thousands in a small file take minutes
FRAMES = 1000
QUALITY, FINEST = 50, 10  # of a JPEG as libjpeg counts it, and the least step of quantisation that it has then
BLOCK = 8  # pixels of a JPEG that are compressed together


def read_raster(file: IO[bytes], format: str, max_megapixels: float) -> list[Scan]:  # noqa: A002
    """Return the picture in an open file of Pillow's `format`: grey values (h, w), and colours if it has any."""
    if format == "JPEG" and file.read().count(b"\xff\xda") > SCANS:
        raise UserError(f"has more than {SCANS} scans; save it again as a PNG")
    file.seek(0)
    with Image.open(file, formats=[format]) as picture:
        check_size(*picture.size, len(picture.getbands()), max_megapixels)
        check_single(_frames(picture))
        orientation = picture.getexif().get(ORIENTATION, 1)
        _check_quality(picture)
        picture.load()
        if picture.has_transparency_data:
            check_opaque(_transparent(picture))
        values = np.ascontiguousarray(upright(_grey(picture), orientation), np.float32)
        shown = _colours(picture)
        return [Scan(values, format=format, colours=None if shown is None else upright(shown, orientation))]


def _check_quality(picture: Image.Image) -> None:
    """Raise UserError for a JPEG whose compression leaves blocks that are seen, and hides walls."""
    table = getattr(picture, "quantization", {}).get(0)
    if not table or min(picture.size) >= BLOCK * VIEW_SIZE:
        return
    scale = min(table) / FINEST
    if scale > 1.1:
        raise UserError(
            f"is compressed too much, as a JPEG of quality {QUALITY / scale:.0f}: its blocks hide the walls; "
            f"save it as a PNG or TIFF, or as a JPEG of quality {QUALITY} or more"
        )


def _frames(picture: Image.Image) -> int | str:
    """Return the number of frames, counted no further than FRAMES, and go back to the first."""
    if not getattr(picture, "is_animated", False):
        return 1
    count = 1
    try:
        while count <= FRAMES:
            picture.seek(count)
            count += 1
    except EOFError:
        return count
    return f"more than {FRAMES}"


def _transparent(picture: Image.Image) -> NDArray[np.bool_]:
    """Return which pixels are not fully opaque. A colour that means transparent is one number, or three."""
    key = picture.info.get("transparency")
    if picture.mode in ("1", "L", "I;16", "RGB") and key is not None:
        channels = np.atleast_3d(np.asarray(picture))
        return np.asarray((channels == np.asarray(key)).all(axis=-1))
    return np.asarray(picture.convert("RGBA").getchannel("A")) < 255


def _grey(picture: Image.Image) -> NDArray[np.float32]:
    if picture.mode in ("1", "L", "I;16"):
        grey = np.asarray(picture)
        return in_bands(lambda band: shares(band, 8 * band.itemsize), grey)
    if picture.mode == "LA":
        return _grey(picture.getchannel("L"))
    if picture.mode not in ("RGB", "RGBA"):
        picture = picture.convert("RGB")
    return in_bands(lambda band: luminance(shares(band[..., channel], 8) for channel in range(3)), np.asarray(picture))


def _colours(picture: Image.Image) -> NDArray[np.uint8] | None:
    """Return the colours (h, w, 3), or None if all are grey."""
    if picture.mode in ("1", "L", "I;16", "LA"):
        return None
    return colours_of(np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB")))
