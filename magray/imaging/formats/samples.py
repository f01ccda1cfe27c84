"""Take the samples of a picture out of a file's bytes, without taking more than the file holds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from magray.imaging.luminance import check_size


def samples(data: bytes, offset: int, kind: str, shape: tuple[int, int], max_megapixels: float) -> NDArray[Any]:
    """Return the samples (h, w) of NumPy's type `kind` at `offset`. Raise ValueError if the file does not hold them.

    Raises UserError for a picture of more than `max_megapixels`.
    """
    height, width = shape
    if not (height > 0 and width > 0):
        raise ValueError(f"it holds no picture, but {width} × {height} pixels")
    check_size(width, height, 4, max_megapixels)
    count = height * width
    if offset < 0 or offset + count * np.dtype(kind).itemsize > len(data):
        raise ValueError("parts of the picture are missing; copy the file again")
    return np.frombuffer(data, kind, count, offset).reshape(shape)
