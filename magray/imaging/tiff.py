"""Read TIFF files: uncompressed and deflated ones with tifffile, other compressions with Pillow's libtiff.

the file says                     the grey value is
black is zero                     the fraction of the largest value that its bits hold; floating point as it is
white is zero                     the same, inverted
a palette, RGB, CMYK              the luminance of the colour, of channels side by side or in planes
YCbCr                             Y
alpha                             refused, unless every pixel is opaque
channels of unknown meaning       refused, unless constant
several pages                     those of all that are not marked as a reduced copy or mask
an orientation                    that of the upright picture
anything else                     refused
"""

import math
import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tifffile import COMPRESSION, PHOTOMETRIC, PREDICTOR, TiffFile, TiffPage

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
from magray.imaging.tiff_tags import page_name, park_scan, pixel_size

PAGES = 100
SEGMENTS = 1 << 18  # strips or tiles: the largest picture in tiles of 16 × 16
ASSOCIATED_ALPHA, ALPHA = 1, 2  # of ExtraSamples; 0 is a channel of unknown meaning
DEFLATE = (COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE)
COLOURS = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.SEPARATED: 4,
    PHOTOMETRIC.YCBCR: 3,
}
BIG = 43  # of a header: offsets have 64 bits
MAX_LENGTHS = {  # of lists in tags, which tifffile reads one number after the other
    **dict.fromkeys((258, 338, 339), SEGMENTS),  # bits, meaning and format of each channel
    **dict.fromkeys((273, 279, 324, 325, 330), SEGMENTS),  # places and lengths of strips, tiles and further pages
    **dict.fromkeys((33628, 33629, 33630, 33631), 10_000),  # planes of a stack, as MetaMorph lists them
    **dict.fromkeys((50838, 50839), SEGMENTS),  # notes of ImageJ
}
ORIENTATION, PHOTOMETRIC_TAG, INK_SET, STK_PLANES = 274, 262, 332, 33629


class Samples(NamedTuple):
    """The samples of a page, their bits, and the meaning of their channels."""

    values: NDArray[np.generic]  # (h, w, channels)
    bits: int
    photometric: int


def read_tiff(file: IO[bytes], max_megapixels: float) -> list[Scan]:
    """Return the pictures in an open TIFF file. Raise ValueError if one cannot be decoded.

    Microscopes that keep their numbers in tags of their own are read by those: see `magray.imaging.tiff_tags`.
    """
    _check_tags(file)
    file_bytes = file.seek(0, 2)
    file.seek(0)
    with TiffFile(file) as tiff:
        pages = _whole_pages(tiff)
        if (scan := park_scan(pages[0][1], max_megapixels)) is not None:
            return [scan]
        check_size(sum(page.imagewidth * page.imagelength for _, page in pages), 1, 1, max_megapixels)
        scans = [_scan(file, index, page, file_bytes, max_megapixels) for index, page in pages]
        return [
            replace(scan, pixel=pixel_size(tiff, page), name=page_name(page, number) if len(pages) > 1 else "")
            for number, (scan, (_, page)) in enumerate(zip(scans, pages, strict=True), 1)
        ]


def _scan(file: IO[bytes], index: int, page: TiffPage, file_bytes: int, max_megapixels: float) -> Scan:
    _check_page(page, max_megapixels)
    segment_bytes = _check_segments(page, file_bytes)
    if _is_plain(page):
        _check_data(page, file, file_bytes, segment_bytes)
        samples = _by_tifffile(page)
    else:
        samples = _by_libtiff(file, index, page)
    _check_extra(samples, page)
    return Scan(np.ascontiguousarray(_grey(samples, page), np.float32), format="TIFF", colours=_colours(samples, page))


def _check_tags(file: IO[bytes]) -> None:
    """Refuse tags with lists of millions of numbers, before tifffile reads them."""
    file.seek(0)
    header = file.read(16)
    order = "<" if header.startswith(b"II") else ">"
    try:
        big = struct.unpack(order + "H", header[2:4])[0] == BIG
        first, number, entry, following = (8, "Q", "HHQ8x", "Q") if big else (4, "H", "HHI4x", "I")
        (offset,) = struct.unpack_from(order + following, header, first)
        for _ in range(PAGES + 1):
            file.seek(min(offset, 1 << 62))
            (tags,) = struct.unpack(order + number, file.read(struct.calcsize(order + number)))
            directory = file.read(min(tags, 1 << 16) * struct.calcsize(order + entry))
            for code, _, count in struct.iter_unpack(order + entry, directory):
                if count > MAX_LENGTHS.get(code, count):
                    raise ValueError("it is cut into too many strips, tiles or planes")
            (offset,) = struct.unpack(order + following, file.read(struct.calcsize(order + following)))
            if not offset:
                break
    except struct.error:
        return  # the file ends here; tifffile reports the damage


def _whole_pages(tiff: TiffFile) -> list[tuple[int, TiffPage]]:
    """Return the pages that are pictures, and their places. A list of pages that leads back into itself ends there."""
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
    if not pages:
        raise ValueError("it holds no picture")
    whole = [place for place, page in enumerate(pages) if not (page.is_reduced or page.is_mask)]
    if not whole:
        raise UserError("holds only reduced copies of a picture; save the picture itself, without pages")
    if len(whole) == 1:
        check_single(_planes(pages[whole[0]]))
    return [(place, pages[place]) for place in whole]


def _planes(page: TiffPage) -> int:
    """Return how many pictures lie one behind another in a page, as ImageJ, tifffile and MetaMorph save long stacks."""
    count = 1
    if images := re.search(r"^images=(\d{1,9})", page.imagej_description or "", re.MULTILINE):
        count = int(images[1])
    elif shape := re.search(r'"shape": \[([\d, ]{1,99})\]', page.shaped_description or ""):
        count = math.prod(int(length) for length in shape[1].split(",") if length.strip()) // max(page.size, 1)
    elif STK_PLANES in page.tags:
        count = page.tags[STK_PLANES].count
    return max(count, page.imagedepth, 1)


def _check_page(page: TiffPage, max_megapixels: float) -> None:
    """Refuse a page whose kind or size is not one that is read."""
    bits = page.bitspersample
    if not page.imagewidth or not page.imagelength:
        raise ValueError("it holds no picture")
    if page.dtype is None or page.dtype.kind not in "buif" or bits not in range(1, 65):
        raise ValueError(f"its samples are of a kind that is not read, of {bits!s:.40} bits")
    for width, height in ((page.imagewidth, page.imagelength), (page.tilewidth, page.tilelength)):
        check_size(width, height, page.samplesperpixel * page.dtype.itemsize, max_megapixels)
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
    """Return the meaning of the channels. Viewers show files without one as grey, or as RGB."""
    if PHOTOMETRIC_TAG in page.tags:
        return int(page.photometric)
    return PHOTOMETRIC.RGB if page.samplesperpixel >= 3 else PHOTOMETRIC.MINISBLACK


def _check_segments(page: TiffPage, file_bytes: int) -> list[int]:
    """Return how many bytes each strip or tile decodes to. Refuse more of them than a picture has, and missing ones."""
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    height, width = min(page.rowsperstrip, page.imagelength), page.imagewidth
    if page.is_tiled:
        height, width = page.tilelength, page.tilewidth
    down, across = math.ceil(page.imagelength / height), math.ceil(page.imagewidth / width)
    if down * across * planes > SEGMENTS:
        raise ValueError("it is cut into too many strips or tiles")
    starts, counts = page.dataoffsets, page.databytecounts
    if not len(starts) == len(counts) == down * across * planes or not all(counts) or max(starts) >= file_bytes:
        raise ValueError("parts of the picture are missing; copy the file again")
    row = math.ceil(width * page.bitspersample * page.samplesperpixel / planes / 8)
    last = height if page.is_tiled else page.imagelength - (down - 1) * height
    return ([row * height] * across * (down - 1) + [row * last] * across) * planes


def _check_data(page: TiffPage, file: IO[bytes], file_bytes: int, segment_bytes: list[int]) -> None:
    """Refuse strips and tiles that hold less than they should, or inflate to far more.

    Some programs write too large a length for the last one, where the file ends; it is complete all the same.
    """
    for start, stated, expected in zip(page.dataoffsets, page.databytecounts, segment_bytes, strict=True):
        count = min(stated, file_bytes - start)
        if page.compression in DEFLATE:
            file.seek(start)
            count = _inflated(file.read(count), 2 * max(segment_bytes) + 1024)
        if count < expected:
            raise ValueError("parts of the picture are missing; copy the file again")


def _inflated(data: bytes, limit: int) -> int:
    """Return how many bytes data inflate to, without keeping them. Raise ValueError if they are more than `limit`."""
    inflate, length = zlib.decompressobj(), 0
    while piece := inflate.decompress(data, 1 << 20):
        data = inflate.unconsumed_tail
        length += len(piece)
        if length > limit:
            raise ValueError("a strip of it inflates to more than it should hold")
    return length


def _is_plain(page: TiffPage) -> bool:
    """Return whether tifffile decodes a page without the codecs of other packages."""
    return (
        page.compression in (COMPRESSION.NONE, *DEFLATE)
        and page.predictor in (PREDICTOR.NONE, PREDICTOR.HORIZONTAL)
        and page.bitspersample in (1, 8, 16, 32, 64)
    )


def _by_tifffile(page: TiffPage) -> Samples:
    values = page.asarray(maxworkers=1)
    if values.ndim == 2:
        values = values[..., None]
    elif page.axes.startswith("S"):
        values = np.moveaxis(values, 0, -1)
    return Samples(upright(values, page.tags.valueof(ORIENTATION, 1)), page.bitspersample, _photometric(page))


def _by_libtiff(file: IO[bytes], index: int, page: TiffPage) -> Samples:
    """Return the samples as Pillow decodes them: upright, and converted for some kinds of file."""
    if any(kind not in (ASSOCIATED_ALPHA, ALPHA) for kind in page.extrasamples):
        raise UserError("has channels of unknown meaning; save the one to be measured by itself, as grey")
    file.seek(0)
    with _silent_stderr(), Image.open(file, formats=["TIFF"]) as picture:
        picture.seek(index)
        picture.load()  # makes it upright, so its shape is known only then
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


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discard what libtiff writes about a damaged file; Pillow raises the errors that matter."""
    stderr = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _check_extra(samples: Samples, page: TiffPage) -> None:
    """Raise UserError for transparent pixels, and for further channels that are not constant."""
    own = COLOURS[PHOTOMETRIC(samples.photometric)]
    for kind, channel in zip(page.extrasamples, np.moveaxis(samples.values, -1, 0)[own:], strict=False):
        if kind in (ASSOCIATED_ALPHA, ALPHA):
            check_opaque(channel < (1 if channel.dtype.kind in "bf" else 2**samples.bits - 1))
        elif channel.min() != channel.max():
            check_single(samples.values.shape[-1])


def _grey(samples: Samples, page: TiffPage) -> NDArray[np.float32]:
    palette = _palette(page) if samples.photometric == PHOTOMETRIC.PALETTE else np.empty(0, np.float32)

    def grey(band: NDArray[Any]) -> NDArray[np.float32]:
        channels = [band[..., channel] for channel in range(COLOURS[PHOTOMETRIC(samples.photometric)])]
        if samples.photometric == PHOTOMETRIC.PALETTE:
            return np.asarray(palette[channels[0].astype(np.int64)])
        values = (shares(channel, samples.bits) for channel in channels)
        if samples.photometric == PHOTOMETRIC.RGB:
            return luminance(values)
        if samples.photometric == PHOTOMETRIC.SEPARATED:
            *inks, black = values
            return luminance((1 - ink) * (1 - black) for ink in inks)
        if samples.photometric == PHOTOMETRIC.MINISWHITE:
            return (1 if band.dtype.kind in "bu" else 0) - next(values)
        return next(values)

    return in_bands(grey, samples.values)


def _palette(page: TiffPage) -> NDArray[np.float32]:
    """Return the luminance of each colour of a palette: the upper 8 of its 16 bits, or 8 where a program wrote 8."""
    colours = page.colormap
    if colours is None or colours.shape != (3, 2**page.bitspersample):
        raise ValueError("its palette is missing")
    return luminance(shares(channel, 8) for channel in (colours if colours.max() < 256 else colours >> 8))


def _colours(samples: Samples, page: TiffPage) -> NDArray[np.uint8] | None:
    """Return the colours (h, w, 3), or None if all are grey, or inks."""
    if samples.photometric == PHOTOMETRIC.RGB:
        values: NDArray[Any] = samples.values[..., :3]
        if values.dtype.kind not in "u":
            return None
        return colours_of(values if samples.bits == 8 else (values >> (samples.bits - 8)).astype(np.uint8))
    if samples.photometric == PHOTOMETRIC.PALETTE and page.colormap is not None:
        palette = page.colormap if page.colormap.max() < 256 else page.colormap >> 8
        return colours_of(np.moveaxis(palette.astype(np.uint8)[:, samples.values[..., 0]], 0, -1))
    return None
