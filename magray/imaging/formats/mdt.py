"""Read scans of NT-MDT's .mdt: frames one behind another, each with a header, the scales of its axes, and the samples.

    33 bytes        of the file: signature, size, number of the last frame
    22 bytes        of a frame: size, kind, version, date, size of the variables
    30 bytes        offset, step and unit of x, y and z
    …               other variables
    8 bytes         mode, width, height, number of dots, which follow with 14 + 16 bytes each
    16-bit samples  bottom up; a length and a title

Frames of spectra and texts are left out; those of the later kind MDA are refused.
"""

import struct

import numpy as np

from magray.errors import UserError
from magray.imaging.formats.samples import samples
from magray.imaging.scan import Scan, length, pixel_of

FIRST_FRAME, FRAME_HEADER, SCALE = 33, 22, "<ffh"
SCANNED, MDA = 0, 106
UNITS = {-5: "m", -4: "cm", -3: "mm", -2: "µm", -1: "nm", 0: "Å", 1: "nA", 2: "V", 4: "kHz", 5: "°", 6: "%", 7: "°C"}


def read(data: bytes, max_megapixels: float) -> list[Scan]:
    """Return the scanned frames in the bytes of a file. Raise ValueError for damage, UserError for frames of MDA."""
    scans: list[Scan] = []
    kinds, place = [], FIRST_FRAME
    while place + FRAME_HEADER <= len(data):
        size, kind = struct.unpack_from("<IH", data, place)
        if size < FRAME_HEADER:
            break
        kinds.append(kind)
        if kind == SCANNED:
            scans.append(_scan(data[place : place + size], len(scans) + 1, max_megapixels))
        place += size
    if not scans and MDA in kinds:
        raise UserError("holds frames of the kind MDA, which are not read; save the picture as .gsf in Gwyddion")
    return scans


def _scan(frame: bytes, number: int, max_megapixels: float) -> Scan:
    (variables,) = struct.unpack_from("<H", frame, FRAME_HEADER - 2)
    (_, x_step, x_unit), (_, y_step, y_unit), (z_offset, z_step, z_unit) = (
        struct.unpack_from(SCALE, frame, FRAME_HEADER + at) for at in (0, 10, 20)
    )
    place = FRAME_HEADER + variables
    _, width, height, dots = struct.unpack_from("<4H", frame, place)
    place += 8 + (14 + 16 * dots if dots else 0)
    values = samples(frame, place, "<i2", (height, width), max_megapixels)
    pixel = pixel_of(length(x_step, UNITS.get(x_unit, "")), length(y_step, UNITS.get(y_unit, "")))
    title = _title(frame, place + values.nbytes) or f"frame {number}"
    return Scan(values[::-1].astype(np.float64) * z_step + z_offset, title, UNITS.get(z_unit, ""), pixel)


def _title(frame: bytes, place: int) -> str:
    if place + 4 > len(frame):
        return ""
    (count,) = struct.unpack_from("<I", frame, place)
    return frame[place + 4 : place + 4 + min(count, 200)].decode("cp1251", "replace").strip("\0 ")
