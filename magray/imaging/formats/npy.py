"""Read NumPy's .npy: an array (h, w), or several pictures (n, h, w). Arrays of Python objects are refused."""

import ast
import io
import struct

import numpy as np

from magray.errors import UserError
from magray.imaging.luminance import check_size
from magray.imaging.scan import Scan

LONGEST_HEADER = 10_000


def read(data: bytes, max_megapixels: float) -> list[Scan]:
    """Return the pictures in the bytes of a file. Raise ValueError for damage."""
    shape = _shape(data)
    if len(shape) not in (2, 3):
        raise UserError(f"holds an array of the shape {shape}; a picture has rows and columns")
    check_size(shape[-1], shape[-2], 4, max_megapixels)
    if np.prod([float(side) for side in shape]) > len(data):
        raise ValueError("parts of the picture are missing; copy the file again")
    values = np.load(io.BytesIO(data), allow_pickle=False)
    if values.dtype.kind not in "buif":
        raise UserError(f"holds {values.dtype}, not whole or floating-point numbers")
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if values.ndim == 2:
        return [Scan(values)]
    return [Scan(one, f"picture {number}") for number, one in enumerate(values, 1)]


def _shape(data: bytes) -> tuple[int, ...]:
    """Return the shape that a header tells, before an array is made of it."""
    form, start = ("<H", 10) if data[6] == 1 else ("<I", 12)
    (length,) = struct.unpack_from(form, data, 8)
    if length > LONGEST_HEADER:
        raise ValueError("its header is too long")
    try:
        shape = ast.literal_eval(data[start : start + length].decode("latin-1").strip())["shape"]
        return tuple(int(side) for side in shape)
    except (SyntaxError, KeyError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("its header is damaged") from error
