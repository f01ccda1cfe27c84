"""Readers of the files of microscopes and simulators, one module a format, told by a file's first bytes."""

from collections.abc import Callable
from typing import NamedTuple

from magray.imaging.formats import digital_micrograph, gsf, gwy, ibw, mdt, nanoscope, npy, ovf, sxm, text
from magray.imaging.scan import Scan

Reader = Callable[[bytes, float], list[Scan]]


class Format(NamedTuple):
    """The first bytes of a kind of file, and its reader: of all bytes, and the largest picture in megapixels."""

    name: str
    starts: tuple[bytes, ...]
    read: Reader


FORMATS = (
    Format("Gwyddion Simple Field", (gsf.START,), gsf.read),
    Format("Gwyddion", (b"GWYP",), gwy.read),
    Format("NumPy", (b"\x93NUMPY",), npy.read),
    Format("Nanonis SXM", (b":NANONIS_VERSION:",), sxm.read),
    Format("NanoScope", (rb"\*File list", rb"?*File list"), nanoscope.read),
    Format("NT-MDT", (b"\x01\xb0\x93\xff",), mdt.read),
    Format("OVF", (b"# OOMMF", b"#OOMMF"), ovf.read),
    Format("Digital Micrograph", (b"\0\0\0\x03", b"\0\0\0\x04"), digital_micrograph.read),
    Format("Igor", (b"\x05\0", b"\0\x05"), ibw.read),
)
TEXT = Format("text", (), text.read)


def format_of(start: bytes) -> Format | None:
    """Return the format of a file that begins with `start`, or None. Text is whatever begins with numbers."""
    for one in FORMATS:
        if start.startswith(one.starts):
            return one
    return TEXT if text.is_matrix(start) else None
