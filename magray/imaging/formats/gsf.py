"""Read Gwyddion Simple Field files: lines of "key = value", NUL bytes up to a multiple of 4, then floats in rows.

http://gwyddion.net/documentation/user-guide-en/gsf.html
"""

from magray.imaging.formats.samples import samples
from magray.imaging.scan import Scan, length, pixel_of

START = b"Gwyddion Simple Field 1."


def read(data: bytes, max_megapixels: float) -> list[Scan]:
    """Return the picture in the bytes of a file. Raise ValueError for damage."""
    end = data.index(b"\0")
    lines = data[:end].decode("utf-8", "replace").splitlines()[1:]
    header = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    width, height = int(header["XRes"]), int(header["YRes"])
    values = samples(data, (end // 4 + 1) * 4, "<f4", (height, width), max_megapixels)
    unit = header.get("XYUnits", "m")
    pixel = pixel_of(
        length(float(header.get("XReal", "nan")) / width, unit),
        length(float(header.get("YReal", "nan")) / height, unit),
    )
    return [Scan(values, header.get("Title", ""), header.get("ZUnits", ""), pixel)]
