"""Read Gwyddion's files: each of its data fields is a picture.

http://gwyddion.net/documentation/user-guide-en/gwyfile-format.html: "GWYP" and an object, little-endian. An object is
its type, the size of its components, and these: a name, a letter for the kind, the value. Kinds in capitals are arrays.
"""

import struct
from typing import Any

import numpy as np

from magray.imaging.luminance import check_size
from magray.imaging.scan import Scan, length, pixel_of

ATOMS = {"b": "?", "c": "c", "i": "<i", "q": "<q", "d": "<d"}
SIZES = {"C": 1, "I": 4, "Q": 8, "D": 8}
DEEPEST = 16  # objects in objects
Components = dict[str, Any]


class _Reader:
    """A position in the bytes of a file."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, len("GWYP")

    def take(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self.data, self.place)
        self.place += struct.calcsize(form)
        return value

    def text(self) -> str:
        end = self.data.index(b"\0", self.place)
        start, self.place = self.place, end + 1
        return self.data[start:end].decode("utf-8", "replace")

    def components(self, depth: int = 0) -> Components:
        """Return the components of the object that begins here."""
        if depth > DEEPEST:
            raise ValueError("its objects are nested too deeply")
        self.text()  # the type
        size = self.take("<I")
        end, found = self.place + size, {}
        if end > len(self.data):
            raise ValueError("parts of the file are missing; copy it again")
        while self.place < end:
            name = self.text()
            found[name] = self.value(chr(self.take("B")), depth)
        return found

    def value(self, kind: str, depth: int) -> Any:
        if kind in ATOMS:
            return self.take(ATOMS[kind])
        if kind == "s":
            return self.text()
        if kind == "o":
            return self.components(depth + 1)
        count = self.take("<I")
        if kind in SIZES:
            start, self.place = self.place, self.place + count * SIZES[kind]
            if self.place > len(self.data):
                raise ValueError("parts of the file are missing; copy it again")
            return np.frombuffer(self.data, "<f8", count, start) if kind == "D" else None
        if kind not in "SO":
            raise ValueError(f"it has a component of the kind {kind!r}")
        for _ in range(count):
            self.value(kind.lower(), depth)
        return None


def read(data: bytes, max_megapixels: float) -> list[Scan]:
    """Return the pictures in the bytes of a file, in the order of their numbers. Raise ValueError for damage."""
    container = _Reader(data).components()
    fields = [key.split("/") for key, value in container.items() if key.endswith("/data") and isinstance(value, dict)]
    numbers = sorted(int(parts[1]) for parts in fields if len(parts) == 3 and parts[1].isdigit())
    return [_scan(container, number, max_megapixels) for number in numbers]


def _scan(container: Components, number: int, max_megapixels: float) -> Scan:
    field = container[f"/{number}/data"]
    width, height = int(field["xres"]), int(field["yres"])
    if not (width > 0 and height > 0):
        raise ValueError(f"it holds no picture, but {width} × {height} pixels")
    check_size(width, height, 4, max_megapixels)
    values = np.asarray(field["data"], np.float64).reshape(height, width)
    unit = _unit(field, "si_unit_xy")
    pixel = pixel_of(
        *(length(float(field.get(key, np.nan)) / n, unit) for key, n in (("xreal", width), ("yreal", height)))
    )
    return Scan(values, str(container.get(f"/{number}/data/title", "")), _unit(field, "si_unit_z"), pixel)


def _unit(field: Components, key: str) -> str:
    unit = field.get(key)
    return str(unit.get("unitstr", "")) if isinstance(unit, dict) else ""
