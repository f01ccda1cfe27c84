"""Read binary waves of Igor Pro, version 5, as Asylum Research's microscopes write them.

A wave is (x, y) or (x, y, channel), with x fastest and y upwards; the labels of the third dimension are the names of
the channels. WaveMetrics' technical note TN003 describes the file:

    64 bytes    version, checksum, the sizes of what follows
    320 bytes   type, dimensions, steps and units
    …           the data; a formula, a note, long units of data and dimensions, labels of 32 bytes
"""

import struct

import numpy as np

from magray.imaging.luminance import check_size
from magray.imaging.scan import Scan, length, pixel_of

VERSION, HEADERS, LABEL = 5, 384, 32
TYPES = {2: "f4", 4: "f8", 8: "i1", 0x10: "i2", 0x20: "i4", 0x48: "u1", 0x50: "u2", 0x60: "u4"}


def read(data: bytes, max_megapixels: float) -> list[Scan]:
    """Return the channels in the bytes of a file. Raise ValueError for damage."""
    order = "<" if data[0] == VERSION else ">"
    sizes = struct.unpack_from(order + "15i", data, 4)
    (kind,) = struct.unpack_from(order + "h", data, 80)
    width, height, layers, fourth = struct.unpack_from(order + "4i", data, 132)
    steps = struct.unpack_from(order + "2d", data, 148)
    if kind not in TYPES or min(width, height) < 1 or layers < 0 or fourth:
        raise ValueError(f"it holds no picture, but numbers of the shape {(width, height, layers, fourth)}")
    check_size(width, height, 4, max_megapixels)
    layers = max(layers, 1)
    form = np.dtype(order + TYPES[kind])
    if HEADERS + width * height * layers * form.itemsize > len(data):
        raise ValueError("parts of the picture are missing; copy the file again")
    values = np.frombuffer(data, form, width * height * layers, HEADERS).reshape(layers, height, width)
    pixel = pixel_of(*(length(step, _text(data[at : at + 4])) for step, at in zip(steps, (216, 220), strict=True)))
    names = _names(data, sizes)
    return [
        Scan(layer[::-1], names[place] if place < len(names) else "", _text(data[212:216]), pixel)
        for place, layer in enumerate(values)
    ]


def _names(data: bytes, sizes: tuple[int, ...]) -> list[str]:
    """Return the labels of the third dimension, of which the first is of the dimension itself."""
    wave, formula, note, units, *more = sizes
    start = 64 + wave + formula + note + units + sum(more[:4]) + sum(more[4:6])
    labels = data[max(start, 0) : max(start, 0) + max(more[6], 0)]
    return [_text(labels[at : at + LABEL]) for at in range(LABEL, len(labels), LABEL)]


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("latin-1").strip()
