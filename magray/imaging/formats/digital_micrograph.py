"""Read images of Gatan's Digital Micrograph, .dm3 and .dm4: a tree of tags, big-endian, whose data are little-endian.

https://imagej.net/ij/plugins/DM3Format.gj.html describes the tags. Pictures lie in ImageList; a thumbnail, which has
the type of colours, is left out.
"""

import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from magray.imaging.luminance import check_size
from magray.imaging.scan import Scan, length, pixel_of

SIMPLE = {2: "i2", 3: "i4", 4: "u2", 5: "u4", 6: "f4", 7: "f8", 8: "u1", 9: "i1", 10: "u1", 11: "i8", 12: "u8"}
STRUCT, STRING, ARRAY = 15, 18, 20
GROUP, DATA = 20, 21
DEEPEST, MOST_TAGS = 32, 100_000
Tags = dict[str, Any]


class Place(NamedTuple):
    """An array in the file that is not read yet: its type and where it lies."""

    kind: str
    length: int
    offset: int


class _Reader:
    """A position in the bytes of a file, of version 3 or 4, which differ in the length of counts."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        version = struct.unpack_from(">I", data)[0]
        self.count, self.place = (">Q", 12) if version == 4 else (">I", 8)
        self.version, self.tags = version, 0
        self.order = "<" if self.take(">I") else ">"

    def take(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self.data, self.place)
        self.place += struct.calcsize(form)
        return int(value)

    def skip(self, count: int) -> int:
        """Return where `count` bytes begin, and go behind them."""
        start, self.place = self.place, self.place + count
        if count < 0 or self.place > len(self.data):
            raise ValueError("parts of the file are missing; copy it again")
        return start

    def group(self, depth: int = 0) -> Tags:
        if depth > DEEPEST:
            raise ValueError("its tags are nested too deeply")
        self.skip(2)  # whether it is sorted, and open
        found: Tags = {}
        for number in range(self.take(self.count)):
            self.tags += 1
            if self.tags > MOST_TAGS:
                raise ValueError("it has too many tags")
            kind, named = self.take(">B"), self.take(">H")
            start = self.skip(named)
            name = self.data[start : self.place].decode("latin-1") or str(number)
            if self.version == 4:
                self.skip(8)
            if kind == GROUP:
                found[name] = self.group(depth + 1)
            elif kind == DATA:
                found[name] = self.value()
            else:
                raise ValueError(f"it has a tag of kind {kind}")
        return found

    def value(self) -> Any:
        self.skip(4)  # %%%%
        length_ = self.take(self.count)
        start = self.skip(length_ * struct.calcsize(self.count))
        info = struct.unpack_from(f">{length_}{self.count[1]}", self.data, start)
        kind = info[0]
        if kind in SIMPLE:
            form = np.dtype(self.order + SIMPLE[kind])
            return np.frombuffer(self.data, form, 1, self.skip(form.itemsize))[0]
        if kind == ARRAY and info[1] in SIMPLE:
            form = np.dtype(self.order + SIMPLE[info[1]])
            return Place(form.str, info[2], self.skip(form.itemsize * info[2]))
        self.skip(_bytes_of(info))
        return None


def _bytes_of(info: tuple[int, ...]) -> int:
    """Return how many bytes a string, a structure, or an array of structures takes."""
    if info[0] == STRING:
        return 2 * info[1]
    if info[0] == STRUCT:
        return sum(np.dtype(SIMPLE[kind]).itemsize for kind in info[4::2])
    if info[0] == ARRAY and info[1] == STRUCT:
        return info[-1] * sum(np.dtype(SIMPLE[kind]).itemsize for kind in info[5:-1:2])
    raise ValueError(f"it has data of kind {info[0]}")


def read(data: bytes, max_megapixels: float) -> list[Scan]:
    """Return the pictures in the bytes of a file. Raise ValueError for damage."""
    images = _Reader(data).group().get("ImageList", {})
    return [
        _scan(image, data, max_megapixels)
        for image in images.values()
        if isinstance(image.get("ImageData", {}).get("Data"), Place) and image["ImageData"].get("DataType") != 23
    ]


def _scan(image: Tags, data: bytes, max_megapixels: float) -> Scan:
    tags = image["ImageData"]
    sides = [int(side) for side in tags["Dimensions"].values()]
    if len(sides) > 2 and all(side == 1 for side in sides[2:]):
        sides = sides[:2]
    if len(sides) != 2 or min(sides) < 1:
        raise ValueError(f"it holds no picture, but numbers of the shape {sides}")
    width, height = sides
    check_size(width, height, 4, max_megapixels)
    values = _array(tags["Data"], data)
    if values.size < width * height:
        raise ValueError("parts of the picture are missing; copy the file again")
    axes = list(tags.get("Calibrations", {}).get("Dimension", {}).values())[:2]
    steps = [length(float(axis["Scale"]), _text(axis.get("Units"), data)) for axis in axes]
    name = _text(image.get("Name"), data)
    return Scan(
        values[: width * height].reshape(height, width), name, "", pixel_of(*steps) if len(steps) == 2 else None
    )


def _array(place: Place, data: bytes) -> NDArray[Any]:
    return np.frombuffer(data, place.kind, place.length, place.offset)


def _text(place: Any, data: bytes) -> str:
    """Return the text of an array of 16-bit numbers."""
    if not isinstance(place, Place):
        return ""
    return _array(place, data).tobytes().decode("utf-16-le", "replace").strip("\0")
