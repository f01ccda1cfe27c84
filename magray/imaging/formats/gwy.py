"""Read Gwyddion's files with gwyfile: each of its data fields is a picture."""

import io
from typing import Any

import numpy as np

from magray.errors import UserError
from magray.imaging.luminance import check_size
from magray.imaging.scan import Scan, length, pixel_of

MISSING = "needs another package; install it with pip install 'magray[microscopes]'"


def read(data: bytes, max_megapixels: float) -> list[Scan]:
    """Return the pictures in the bytes of a file, in the order of their numbers. Raises UserError without gwyfile."""
    try:
        import gwyfile
    except ImportError:
        raise UserError(MISSING) from None
    container = gwyfile.load(io.BytesIO(data))
    numbers = sorted(int(key.split("/")[1]) for key in container if key.startswith("/") and key.endswith("/data"))
    return [_scan(container, number, max_megapixels) for number in numbers if f"/{number}/data" in container]


def _scan(container: Any, number: int, max_megapixels: float) -> Scan:
    field = container[f"/{number}/data"]
    width, height = int(field["xres"]), int(field["yres"])
    check_size(width, height, 4, max_megapixels)
    values = np.asarray(field["data"], np.float64).reshape(height, width)
    unit = _unit(field, "si_unit_xy")
    pixel = pixel_of(length(field["xreal"] / width, unit), length(field["yreal"] / height, unit))
    return Scan(values, str(container.get(f"/{number}/data/title", "")), _unit(field, "si_unit_z"), pixel)


def _unit(field: Any, key: str) -> str:
    return str(field[key].get("unitstr", "")) if key in field else ""
