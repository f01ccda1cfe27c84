"""Read vector fields of OOMMF and mumax3, OVF 1 and 2, as text or binary: the mean of m_z over the layers.

https://math.nist.gov/oommf/doc/userguide20a3/userguide/Vector_Field_File_Format_OV.html
A perpendicular film shows m_z, so the other components are no choice; a field of one component is read as it is.
"""

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magray.imaging.luminance import check_size
from magray.imaging.scan import Scan, length, pixel_of

DATA = re.compile(rb"^#\s*Begin:\s*Data\s+(Text|Binary\s+[48])[ \t]*\r?\n", re.IGNORECASE | re.MULTILINE)
CHECKS = {4: 1234567.0, 8: 123456789012345.0}
MOST_COMPONENTS = 12
LONGEST_HEADER = 1 << 16


@dataclass(frozen=True, eq=False)
class VectorField:
    """A field on cells. values: (nz, ny, nx, components). cell: its sizes along x, y, z, m; NaN if not in metres."""

    values: NDArray[np.floating]
    cell: tuple[float, float, float]
    title: str


def read(data: bytes, max_megapixels: float) -> list[Scan]:
    """Return the picture in the bytes of a file. Raise ValueError for damage."""
    field = read_field(data, max_megapixels)
    pixel = pixel_of(*field.cell[:2])
    name, which = ("m_z", 2) if field.values.shape[-1] == 3 else (field.title, 0)
    return [Scan(field.values[..., which].mean(0, dtype=np.float64)[::-1], name, "", pixel)]


def read_field(data: bytes, max_megapixels: float) -> VectorField:
    """Return the field in the bytes of a file. Raise ValueError for damage."""
    begin = DATA.search(data, 0, LONGEST_HEADER)
    if not begin:
        raise ValueError("it has no data")
    lines = (line.lstrip("# ").partition(":") for line in data[: begin.start()].decode("latin-1").splitlines())
    header = {key.strip().lower(): value.strip() for key, _, value in lines}
    nodes = tuple(int(header[f"{axis}nodes"]) for axis in "zyx")
    components = int(header.get("valuedim", 3))
    if not (all(count > 0 for count in nodes) and 0 < components <= MOST_COMPONENTS):
        raise ValueError(f"it holds no picture, but {nodes} cells of {components} components")
    check_size(nodes[2], nodes[1], 4, max_megapixels)
    count = int(np.prod([float(side) for side in (*nodes, components)]))
    values = _numbers(data, begin.end(), begin[1].lower(), count).reshape(*nodes, components)
    unit = header.get("meshunit", "m")
    x, y, z = (length(float(header.get(f"{axis}stepsize", "nan")), unit) or math.nan for axis in "xyz")
    return VectorField(values, (x, y, z), header.get("title", ""))


def _numbers(data: bytes, start: int, kind: bytes, count: int) -> NDArray[np.floating]:
    """Return `count` numbers that begin at `start`: lines of text, or floats after one that tells their byte order."""
    if kind == b"text":
        end = data.find(b"#", start)
        numbers = np.fromstring(data[start : end if end > 0 else len(data)].decode("latin-1"), np.float64, sep=" ")
        if len(numbers) < count:
            raise ValueError("parts of the field are missing; copy the file again")
        return numbers[:count]
    size = int(kind[-1:])
    if start + size * (count + 1) > len(data):
        raise ValueError("parts of the field are missing; copy the file again")
    for order in "<>":
        if np.frombuffer(data, f"{order}f{size}", 1, start)[0] == CHECKS[size]:
            return np.frombuffer(data, f"{order}f{size}", count, start + size)
    raise ValueError("its binary data do not begin with the number that tells their byte order")
