r"""Read files of Bruker's and Veeco's NanoScope: sections of "\Key: value" up to Ctrl-Z, and whole numbers, bottom up.

A value is the number times the Z scale in V, over 2 to the number of its bits, times the sensitivity in units per V.
The header tells both.
"""

import re
from typing import NamedTuple

from magray.imaging.formats.samples import samples
from magray.imaging.scan import Scan, length, pixel_of

PICTURE, HEADER_END = "Ciao image list", b"\x1a"
SCALE = re.compile(r"\[(?P<sensitivity>[^\]]*)\] \([^)]*\) (?P<volts>[-+.\deE]+)")


class Section(NamedTuple):
    """A part of a header: its title and its keys."""

    title: str
    values: dict[str, str]


def read(data: bytes, max_megapixels: float) -> list[Scan]:
    """Return the pictures in the bytes of a file. Raise ValueError for damage."""
    sections = _sections(data[: data.index(HEADER_END)].decode("latin-1"))
    everything = {key: value for section in sections for key, value in section.values.items()}
    return [_scan(section.values, everything, data, max_megapixels) for section in sections if section.title == PICTURE]


def _sections(header: str) -> list[Section]:
    sections: list[Section] = []
    for line in header.splitlines():
        if line.startswith((r"\*", "?*")):
            sections.append(Section(line[2:].strip(), {}))
        elif line.startswith("\\") and sections:
            found = re.match(r"\\(@?(?:\d+:)?[^:]+): ?(.*)", line)
            if found:
                sections[-1].values[re.sub(r"^@\d+:", "@", found[1])] = found[2].strip()
    return sections


def _scan(section: dict[str, str], everything: dict[str, str], data: bytes, max_megapixels: float) -> Scan:
    width, height = int(section["Samps/line"].split()[0]), int(section["Number of lines"])
    stored = int(section["Bytes/pixel"])
    if int(section["Data length"]) >= 4 * width * height > 0:  # newer files say 2 and hold 4
        stored = 4
    values = samples(data, int(section["Data offset"]), f"<i{stored}", (height, width), max_megapixels)
    name = re.search(r'"([^"]*)"', section.get("@Image Data", ""))
    factor, unit = _scale(section.get("@Z scale", ""), everything, stored)
    line = section.get("Line Direction", section.get("Line direction", ""))
    title = f"{name[1] if name else ''} {line.lower()}".strip()
    return Scan(values[::-1] * factor, title, unit, _pixel(section, everything, (width, height)))


def _scale(z_scale: str, everything: dict[str, str], stored: int) -> tuple[float, str]:
    """Return what a step of the whole numbers is, and its unit."""
    found = SCALE.search(z_scale)
    if not found:
        return 1.0, ""
    volts = float(found["volts"]) / 2 ** (8 * stored)
    sensitivity = re.match(r"V ([-+.\deE]+) (\S+)/V", everything.get(f"@{found['sensitivity']}", ""))
    return (volts * float(sensitivity[1]), sensitivity[2]) if sensitivity else (volts, "V")


def _pixel(
    section: dict[str, str], everything: dict[str, str], samples_across: tuple[int, int]
) -> tuple[float, float] | None:
    said = section.get("Scan Size") or section.get("Scan size") or everything.get("Scan Size", "")
    found = re.match(r"([-+.\deE]+)(?: ([-+.\deE]+))? (\S+)", said)
    if not found:
        return None
    across, down = float(found[1]), float(found[2] or found[1])
    width, height = samples_across
    return pixel_of(length(across / width, found[3]), length(down / height, found[3]))
