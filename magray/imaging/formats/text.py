"""Read matrices of numbers as text: rows of numbers with spaces, tabs, commas or semicolons between them.

Lines that begin with # are comments; Gwyddion's tell the channel, the width and the height.
"""

import io
import re

import numpy as np

from magray.errors import UserError
from magray.imaging.luminance import check_size
from magray.imaging.scan import Scan, length, pixel_of

NUMBER = rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan"
START = re.compile(rb"\s*(?:#[^\n]*\n\s*)*(?:" + NUMBER + rb")[\s,;]", re.IGNORECASE)
SIZE = r"^#\s*{}:\s*([-+.\deE]+)\s*(\S+)"
LEAST = 8  # rows and columns of a picture


def is_matrix(start: bytes) -> bool:
    """Return whether a file that begins so is text whose first line without # begins with a number."""
    return b"\0" not in start and START.match(start) is not None


def read(data: bytes, max_megapixels: float) -> list[Scan]:
    """Return the matrix in the bytes of a file. Raise ValueError if its rows are not alike, or not numbers."""
    lines = [line for line in data.splitlines() if line.strip() and not line.lstrip().startswith(b"#")]
    delimiter = next((mark for mark in (b";", b",") if mark in lines[0]), None)
    columns = len(lines[0].split(delimiter))
    if columns < LEAST or len(lines) < LEAST:
        raise UserError(f"holds {len(lines)} rows of {columns} numbers, which is no picture")
    check_size(columns, len(lines), 4, max_megapixels)
    text = b"\n".join(line.strip().rstrip(b",;") for line in lines)
    mark = delimiter.decode() if delimiter else None
    values = np.loadtxt(io.BytesIO(text), np.float64, delimiter=mark, encoding="latin-1")
    comments = b"\n".join(line for line in data[: 1 << 16].splitlines() if line.startswith(b"#"))
    said = comments.decode("utf-8", "replace")
    sides = [re.search(SIZE.format(side), said, re.MULTILINE) for side in ("Width", "Height")]
    pixel = pixel_of(
        *(
            length(float(side[1]) / count, side[2]) if side else None
            for side, count in zip(sides, values.shape[::-1], strict=True)
        )
    )
    name, unit = (re.search(rf"^#\s*{key}:\s*(.*)", said, re.MULTILINE) for key in ("Channel", "Value units"))
    return [Scan(values, name[1].strip() if name else "", unit[1].strip() if unit else "", pixel)]
