"""One picture of a file, with what the file says of it; and the choice of one among several."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magray.errors import UserError, shortened

LENGTHS = {  # m, by the names that files give to units
    **dict.fromkeys(("m", "meter", "metre"), 1.0),
    "cm": 1e-2,
    **dict.fromkeys(("mm", "millimeter"), 1e-3),
    **dict.fromkeys(("µm", "μm", "um", "~m", "micron", "microns", "micrometer", r"\u00b5m"), 1e-6),
    **dict.fromkeys(("nm", "nanometer"), 1e-9),
    **dict.fromkeys(("å", "a", "angstrom"), 1e-10),
    "pm": 1e-12,
}
SHORTEST, LONGEST = 1e-12, 1e-4  # m, of pixels: others are mistakes, or of prints and screens
LISTED = 20  # pictures that an error names


@dataclass(frozen=True, eq=False)
class Scan:
    """A picture (h, w) and what its file says of it.

    values: may hold NaN where nothing was measured. pixel: its width and height, m. instrument: as the file calls it.
    colours: (h, w, 3), where the picture is not grey and `values` are their luminance.
    """

    values: NDArray[Any]
    name: str = ""
    unit: str = ""
    pixel: tuple[float, float] | None = None
    instrument: str = ""
    format: str = ""
    colours: NDArray[np.uint8] | None = None


def length(value: float, unit: str) -> float | None:
    """Return a length, m, or None if the unit is not one of length."""
    factor = LENGTHS.get(unit.strip().lower())
    return None if factor is None else value * factor


def pixel_of(width: float | None, height: float | None) -> tuple[float, float] | None:
    """Return the width and height of a pixel, m, or None if they are not plausible."""
    sides = (width, height)
    if any(side is None or not math.isfinite(side) or not SHORTEST <= abs(side) <= LONGEST for side in sides):
        return None
    return abs(width or 0), abs(height or 0)


def chosen(scans: Sequence[Scan], channel: str | None) -> Scan:
    """Return the scan that `channel` names: by its number from 1 on, its name, or a part of the name that only it has.

    Raises UserError, with the list, for a channel that there is not, and for several pictures without a choice.
    """
    listed = ", ".join(f"{number} {scan.name}".strip() for number, scan in enumerate(scans[:LISTED], 1))
    if channel is None:
        if len(scans) != 1:
            raise UserError(
                f"holds a stack of {len(scans)} pictures; save the one to be measured by itself, or choose it with "
                f"--channel: {listed}"
            )
        return scans[0]
    if re.fullmatch(r"\d{1,6}", channel) and 1 <= int(channel) <= len(scans):
        return scans[int(channel) - 1]
    wanted = channel.casefold()
    found = [scan for scan in scans if scan.name.casefold() == wanted]
    found = found or [scan for scan in scans if wanted in scan.name.casefold()]
    if len(found) != 1:
        which = "several channels are called" if found else "there is no channel"
        raise UserError(f"{which} {shortened(channel)}; --channel takes one of: {listed}")
    return found[0]
