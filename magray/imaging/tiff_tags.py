"""Read what instruments write into the tags of TIFFs: sizes of pixels, names of channels, and Park's own numbers.

of                  the size of a pixel
JPK                 lengths over numbers of the grid, m
OME                 PhysicalSizeX, in its unit, or µm
ImageJ              one over XResolution, in its unit
any other program   one over XResolution, in inches or cm, if that is below 5 µm: larger ones are of prints
"""

import math
import re
import struct
from typing import NamedTuple

import numpy as np
from tifffile import TiffFile, TiffPage

from magray.imaging.formats.samples import samples
from magray.imaging.scan import Scan, length, pixel_of

LARGEST = 5e-6  # m, of a pixel whose size is told in inches or cm: 5080 dots per inch
RESOLUTIONS = (282, 283)
UNITS = {2: 0.0254, 3: 0.01}  # m, of ResolutionUnit
JPK_LENGTHS, JPK_NUMBERS, JPK_NAME, JPK_RETRACE = (32834, 32835), (32838, 32839), 32848, 32849
PARK_MAGIC, PARK_DATA, PARK_HEADER = 50432, 50434, 50435
PARK = struct.Struct("<i64s16sdiiiididiiidddddd16sddddd16s6idd16s16s16si")
PARK_KINDS = {0: "<i2", 1: "<i4", 2: "<f4"}
PARK_UNIT = 1e-6  # m, of the sizes of its scans


class ParkHeader(NamedTuple):
    """The header of a Park TIFF, as far as it is read. Sizes are in µm; a value is its number times the gain."""

    source: str
    mode: str
    width: int
    height: int
    across: float
    down: float
    gain: float
    unit: str
    kind: int


def pixel_size(tiff: TiffFile, page: TiffPage) -> tuple[float, float] | None:
    """Return the width and height of a pixel, m, or None if no tag tells them."""
    first = tiff.pages[0]
    assert isinstance(first, TiffPage)
    for found in (_of_jpk(first), _of_ome(first), _of_resolution(page, first)):
        if found is not None:
            return found
    return None


def page_name(page: TiffPage, number: int) -> str:
    """Return the name of a channel: that which JPK gives, or the number of its page."""
    name = page.tags.valueof(JPK_NAME, None)
    if not isinstance(name, str):
        return f"page {number}"
    return f"{name[:80]} {'retrace' if page.tags.valueof(JPK_RETRACE, 0) else 'trace'}"


def park_scan(page: TiffPage, max_megapixels: float) -> Scan | None:
    """Return the scan in Park's own tags, or None if there are none. Raise ValueError for damage."""
    raw, data = page.tags.valueof(PARK_HEADER, None), page.tags.valueof(PARK_DATA, None)
    if PARK_MAGIC not in page.tags or not isinstance(raw, bytes) or not isinstance(data, bytes):
        return None
    header = _park_header(raw)
    values = samples(data, 0, PARK_KINDS[header.kind], (header.height, header.width), max_megapixels)
    pixel = pixel_of(PARK_UNIT * header.across / header.width, PARK_UNIT * header.down / header.height)
    upwards = values[::-1].astype(np.float64) * header.gain
    return Scan(upwards, header.source, header.unit, pixel, header.mode, "Park TIFF")


def _park_header(raw: bytes) -> ParkHeader:
    if len(raw) < PARK.size:
        raise ValueError("the header of its scan is too short")
    fields = PARK.unpack_from(raw)
    source, mode, unit = (fields[place].decode("utf-16-le", "replace").split("\0")[0] for place in (1, 2, 26))
    return ParkHeader(source, mode, fields[6], fields[7], fields[14], fields[15], fields[23], unit, fields[-1])


def _of_jpk(page: TiffPage) -> tuple[float, float] | None:
    lengths = [_number(page, tag) for tag in JPK_LENGTHS]
    numbers = [_number(page, tag) for tag in JPK_NUMBERS]
    if not all(lengths) or not all(numbers):
        return None
    return pixel_of(*(side / number for side, number in zip(lengths, numbers, strict=True)))


def _of_ome(page: TiffPage) -> tuple[float, float] | None:
    said = page.description if page.is_ome else ""
    sides = []
    for axis in "XY":
        size = re.search(rf'\bPhysicalSize{axis}="([-+.\deE]+)"', said)
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', said)
        sides.append(length(float(size[1]), unit[1] if unit else "µm") if size else None)
    return pixel_of(*sides)


def _of_resolution(page: TiffPage, first: TiffPage) -> tuple[float, float] | None:
    steps = []
    for tag in RESOLUTIONS:
        value = page.tags.valueof(tag, None)
        if not (isinstance(value, tuple) and len(value) == 2 and all(value)):
            return None
        steps.append(value[1] / value[0])
    unit = re.search(r"^unit=(.+)$", first.imagej_description or "", re.MULTILINE)
    if unit:
        return pixel_of(*(length(step, unit[1]) for step in steps))
    inches = UNITS.get(int(page.tags.valueof(296, 2)), math.nan)
    found = pixel_of(*(step * inches for step in steps))
    return found if found and max(found) < LARGEST else None


def _number(page: TiffPage, tag: int) -> float:
    value = page.tags.valueof(tag, 0)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0
