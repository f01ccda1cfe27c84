"""Views of films, a model of a microscope, and picture files. Views take NumPy arrays and torch tensors."""

from magray.imaging.luminance import MAX_MEGAPIXELS
from magray.imaging.picture_files import (
    check_picture,
    grey_range,
    read_picture,
    read_scan,
    read_scans,
    write_picture,
)
from magray.imaging.scan import Scan
from magray.imaging.views import (
    VIEW_SIZE,
    area_average,
    cells_of,
    check_room,
    crop,
    over_views,
    rotate,
    scale_of,
    shifted,
    squares_in,
    tiles,
    to_mz,
    views,
)

__all__ = [
    "MAX_MEGAPIXELS",
    "VIEW_SIZE",
    "Scan",
    "area_average",
    "cells_of",
    "check_picture",
    "check_room",
    "crop",
    "grey_range",
    "over_views",
    "read_picture",
    "read_scan",
    "read_scans",
    "rotate",
    "scale_of",
    "shifted",
    "squares_in",
    "tiles",
    "to_mz",
    "views",
    "write_picture",
]
