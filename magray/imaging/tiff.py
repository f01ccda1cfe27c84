"""TIFF files: uncompressed and deflated ones by tifffile, other compressions by Pillow's libtiff.

the file says                     the grey value is
black is zero                     the share of the largest value that its bits hold; floating point as it is
white is zero                     the same, inverted
a palette, RGB, CMYK              the luminance of the colour, of channels side by side or in planes
YCbCr                             Y
alpha                             refused, unless every pixel is opaque
channels of unknown meaning       refused, unless constant
several pages                     that of the only one that is not marked as a reduced copy or mask, or refused
an orientation                    that of the upright picture
anything else                     refused
"""

import math
import re
import zlib
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tifffile import COMPRESSION, PHOTOMETRIC, PREDICTOR, TiffFile, TiffPage

from magray.errors import UserError
from magray.imaging.luminance import check_opaque, check_single, check_size, luminance, shares, upright

PAGES = 100
SEGMENTS = 1 << 18  # strips or tiles: the largest picture in tiles of 16 × 16
DEFLATE = (COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE)
COLOURS = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.SEPARATED: 4,
    PHOTOMETRIC.YCBCR: 3,
}
ORIENTATION, PHOTOMETRIC_TAG, INK_SET, STK_PLANES = 274, 262, 332, 33629


class Samples(NamedTuple):
    """What a page's numbers are and mean."""

    values: NDArray[np.generic]  # (h, w, channels)
    bits: int
    photometric: int


def read_tiff(file: IO[bytes], max_megapixels: float) -> NDArray[np.float32]:
    """Return the grey values (h, w) of the picture in an open TIFF file. Raise ValueError if it cannot be decoded."""
    length = file.seek(0, 2)
    file.seek(0)
    with TiffFile(file) as tiff:
        index, page = _only_page(tiff)
        _check_page(page, max_megapixels)
        segment_bytes = _check_segments(page, length)
        if page.predictor not in (PREDICTOR.NONE, PREDICTOR.HORIZONTAL) or page.compression not in (1, *DEFLATE):
            samples = _by_libtiff(file, index, page)
        else:
            _check_data(page, file, length, segment_bytes)
            samples = _by_tifffile(page)
        _check_extra(samples, page)
        return np.ascontiguousarray(_grey(samples, page), np.float32)


def _only_page(tiff: TiffFile) -> tuple[int, TiffPage]:
    """Return the page that is the picture, and its place. A list of pages that leads back into itself ends there."""
    pages: list[TiffPage] = []
    offsets: set[int] = set()
    for index in range(PAGES + 1):
        try:
            page = tiff.pages[index]
        except IndexError:
            break
        if page.offset in offsets or not isinstance(page, TiffPage):
            break
        offsets.add(page.offset)
        pages.append(page)
    if len(pages) > PAGES:
        check_single(f"more than {PAGES}")
    whole = [place for place, page in enumerate(pages) if not (page.is_reduced or page.is_mask)]
    if not whole and len(pages) == 1 and not pages[0].subifds:
        whole = [0]  # a reduced copy saved by itself is a picture
    if not whole:
        raise UserError("holds only reduced copies of a picture; save the picture itself, without pages")
    check_single(len(whole) if len(whole) > 1 else _planes(pages[whole[0]]))
    return whole[0], pages[whole[0]]


def _planes(page: TiffPage) -> int:
    """Return how many pictures lie one behind another in a page, as ImageJ, tifffile and MetaMorph save long stacks."""
    said = 1
    if page.is_imagej and (images := re.search(r"^images=(\d{1,9})", page.description, re.MULTILINE)):
        said = int(images[1])
    elif page.is_shaped and (shape := re.search(r'"shape": \[([\d, ]{1,99})\]', page.description)):
        said = math.prod(int(length) for length in shape[1].split(",") if length.strip()) // max(page.size, 1)
    elif STK_PLANES in page.tags:
        said = page.tags[STK_PLANES].count
    return max(said, page.imagedepth, 1)


def _check_page(page: TiffPage, max_megapixels: float) -> None:
    """Refuse a page whose kind or size is not one that is read."""
    bits = page.bitspersample
    if not page.imagewidth or not page.imagelength:
        raise ValueError("it holds no picture")
    if page.dtype is None or page.dtype.kind not in "buif" or not 1 <= bits <= 64:
        raise ValueError(f"its samples are of a kind that is not read, of {bits!s:.40} bits")
    check_size(page.imagewidth, page.imagelength, page.samplesperpixel * page.dtype.itemsize, max_megapixels)
    colour = _photometric(page)
    if colour not in COLOURS or (colour == PHOTOMETRIC.SEPARATED and page.tags.valueof(INK_SET, 1) != 1):
        raise UserError(
            f"cannot be read as TIFF: its colours are of a kind ({colour!s:.40}) that is not read; save grey"
        )
    if page.samplesperpixel < COLOURS[PHOTOMETRIC(colour)]:
        raise ValueError(f"{page.samplesperpixel} channels are too few for its colours")
    if colour == PHOTOMETRIC.YCBCR and page.compression != COMPRESSION.JPEG and page.subsampling != (1, 1):
        raise ValueError("its colours are subsampled; save it as grey")


def _photometric(page: TiffPage) -> int:
    """Return what the channels mean. Files that do not say so are shown by viewers as grey, or as RGB."""
    if PHOTOMETRIC_TAG in page.tags:
        return int(page.photometric)
    return PHOTOMETRIC.RGB if page.samplesperpixel >= 3 else PHOTOMETRIC.MINISBLACK


def _check_segments(page: TiffPage, file_bytes: int) -> list[int]:
    """Return how many bytes each strip or tile decodes to. Refuse more of them than a picture has, and missing ones."""
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    if page.is_tiled:
        height, width = page.tilelength, page.tilewidth
        heights = [height] * (math.ceil(page.imagelength / height) * math.ceil(page.imagewidth / width))
    else:
        height, width = min(page.rowsperstrip, page.imagelength), page.imagewidth
        heights = [min(height, page.imagelength - row) for row in range(0, page.imagelength, height)][: SEGMENTS + 1]
    if len(heights) * planes > SEGMENTS:
        raise ValueError("it is cut into too many strips or tiles")
    if height * width > 4 * (page.imagelength + 512) * (page.imagewidth + 512):
        raise ValueError("its tiles are far larger than the picture")
    starts, counts = page.dataoffsets, page.databytecounts
    if not len(starts) == len(counts) == len(heights) * planes or not all(counts) or max(starts) >= file_bytes:
        raise ValueError("parts of the picture are missing; copy the file again")
    row = math.ceil(width * page.bitspersample * page.samplesperpixel / planes / 8)
    return [row * height for height in heights] * planes


def _check_data(page: TiffPage, file: IO[bytes], file_bytes: int, segment_bytes: list[int]) -> None:
    """Refuse strips and tiles that hold less than they should, or inflate to far more.

    A program that says too long a length for the last one, where the file ends, has still written all of it.
    """
    for start, said, expected in zip(page.dataoffsets, page.databytecounts, segment_bytes, strict=True):
        count = min(said, file_bytes - start)
        if page.compression in DEFLATE:
            file.seek(start)
            most = 2 * max(segment_bytes) + 1024
            count = len(zlib.decompressobj().decompress(file.read(min(count, most)), most))
            if count == most:
                raise ValueError("a strip of it inflates to more than it should hold")
        if count < expected:
            raise ValueError("parts of the picture are missing; copy the file again")


def _by_tifffile(page: TiffPage) -> Samples:
    values = page.asarray(maxworkers=1)
    if values.ndim == 2:
        values = values[..., None]
    elif page.axes.startswith("S"):
        values = np.moveaxis(values, 0, -1)
    return Samples(upright(values, page.tags.valueof(ORIENTATION, 1)), page.bitspersample, _photometric(page))


def _by_libtiff(file: IO[bytes], index: int, page: TiffPage) -> Samples:
    """Return the samples as Pillow decodes them, which makes them upright and has its own view of some kinds."""
    if any(kind not in (1, 2) for kind in page.extrasamples):
        raise UserError("has channels of unknown meaning; save the one to be measured by itself, as grey")
    file.seek(0)
    with Image.open(file, formats=["TIFF"]) as picture:
        picture.seek(index)
        values = np.asarray(picture)
    photometric, bits = _photometric(page), page.bitspersample
    if photometric == PHOTOMETRIC.YCBCR:
        return Samples(values, 8, PHOTOMETRIC.RGB)
    if values.dtype == bool:  # already as seen
        return Samples(values[..., None], 1, PHOTOMETRIC.MINISBLACK)
    if values.ndim == 3 or photometric == PHOTOMETRIC.PALETTE:  # channels of 16 bits come as 8
        return Samples(values.reshape(*values.shape[:2], -1), min(bits, 8), photometric)
    if values.dtype == np.uint8:  # fewer bits come spread over 8; white that is zero comes inverted
        return Samples(values.astype(page.dtype if bits == 8 else np.uint8)[..., None], 8, PHOTOMETRIC.MINISBLACK)
    return Samples(values.astype(page.dtype)[..., None], bits, photometric)


def _check_extra(samples: Samples, page: TiffPage) -> None:
    """Refuse a picture with transparent pixels, or with further channels in which something is to be seen."""
    for place, kind in enumerate(page.extrasamples, start=COLOURS[PHOTOMETRIC(samples.photometric)]):
        if place >= samples.values.shape[-1]:
            break
        channel = samples.values[..., place]
        if kind in (1, 2):
            check_opaque(shares(channel, samples.bits) < 1)
        elif channel.min() != channel.max():
            check_single(samples.values.shape[-1])


def _grey(samples: Samples, page: TiffPage) -> NDArray[np.float32]:
    channels = np.moveaxis(samples.values, -1, 0)
    if samples.photometric == PHOTOMETRIC.PALETTE:
        grey: NDArray[np.float32] = _palette(page)[channels[0].astype(np.int64)]
        return grey
    if samples.photometric == PHOTOMETRIC.RGB:
        red, green, blue = (shares(channel, samples.bits) for channel in channels[:3])
        return luminance(red, green, blue)
    if samples.photometric == PHOTOMETRIC.SEPARATED:
        paper = 1 - shares(channels[3], samples.bits)
        red, green, blue = (paper * (1 - shares(ink, samples.bits)) for ink in channels[:3])
        return luminance(red, green, blue)
    grey = shares(channels[0], samples.bits)
    if samples.photometric != PHOTOMETRIC.MINISWHITE:
        return grey
    return 1 - grey if samples.values.dtype.kind in "bu" else -grey


def _palette(page: TiffPage) -> NDArray[np.float32]:
    """Return the luminance of each colour of a palette: the upper 8 of its 16 bits, or 8 where a program wrote 8."""
    colours = page.colormap
    if colours is None or colours.shape != (3, 2**page.bitspersample):
        raise ValueError("its palette is missing")
    red, green, blue = (shares(channel, 8) for channel in (colours if colours.max() < 256 else colours >> 8))
    return luminance(red, green, blue)
