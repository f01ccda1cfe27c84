"""Read Nanonis SXM: lines of ":KEY:" and values, then big-endian floats, forward and backward, channel by channel.

Backward scans run from right to left, and scans "up" begin at the bottom; both are turned to how the sample lies.
"""

import re

import numpy as np

from magray.imaging.formats.samples import samples
from magray.imaging.scan import Scan, pixel_of

END, START = b":SCANIT_END:", b"\x1a\x04"


def read(data: bytes, max_megapixels: float) -> list[Scan]:
    """Return the channels in the bytes of a file. Raise ValueError for damage."""
    end = data.index(END)
    header = _header(data[:end].decode("latin-1"))
    width, height = (int(number) for number in header["SCAN_PIXELS"].split()[:2])
    across, down = (float(number) for number in header["SCAN_RANGE"].split()[:2])
    pixel = pixel_of(across / max(width, 1), down / max(height, 1))
    offset, scans = data.index(START, end) + len(START), []
    for name, unit, directions in _channels(header["DATA_INFO"]):
        for direction in directions:
            values = samples(data, offset, ">f4", (height, width), max_megapixels)
            offset += values.nbytes
            values = values[:, ::-1] if direction == "backward" else values
            values = values[::-1] if header.get("SCAN_DIR", "").strip() == "up" else values
            scans.append(Scan(values.astype(np.float32), f"{name} {direction}", unit, pixel))
    return scans


def _header(text: str) -> dict[str, str]:
    parts = re.split(r"^:([^:\n]+(?::[^:\n]+)*):[ \t]*$", text, flags=re.MULTILINE)
    return {key: value.strip("\n") for key, value in zip(parts[1::2], parts[2::2], strict=True)}


def _channels(table: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return the name, unit and directions of each channel."""
    channels: list[tuple[str, str, tuple[str, ...]]] = []
    for line in table.strip().splitlines()[1:]:
        fields = line.split()
        if len(fields) < 4:
            continue
        both = fields[3].lower() == "both"
        channels.append((fields[1], fields[2], ("forward", "backward") if both else (fields[3].lower(),)))
    return channels
