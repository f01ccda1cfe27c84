"""Small files of every format that microscopes write, made byte by byte, with one picture of 12 × 16 pixels."""

import io
import struct

import numpy as np
import tifffile
from numpy.typing import NDArray

HEIGHT, WIDTH = 12, 16
PIXEL = (20e-9, 25e-9)  # m
GREY: NDArray[np.float32] = np.random.default_rng(3).uniform(-1, 1, (HEIGHT, WIDTH)).astype(np.float32)
ACROSS, DOWN = WIDTH * PIXEL[0], HEIGHT * PIXEL[1]
WHOLE: NDArray[np.int16] = np.rint(GREY * 1000).astype(np.int16)


def gsf() -> bytes:
    header = (
        f"Gwyddion Simple Field 1.0\nXRes = {WIDTH}\nYRes = {HEIGHT}\nXReal = {ACROSS}\nYReal = {DOWN}\n"
        "XYUnits = m\nZUnits = deg\nTitle = Phase\n"
    ).encode()
    return header + b"\0" * (4 - len(header) % 4) + GREY.astype("<f4").tobytes()


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, GREY)
    return file.getvalue()


def sxm(direction: str = "down") -> bytes:
    header = (
        f":NANONIS_VERSION:\n2\n:SCAN_PIXELS:\n       {WIDTH}       {HEIGHT}\n:SCAN_RANGE:\n   {ACROSS}   {DOWN}\n"
        f":SCAN_DIR:\n{direction}\n:DATA_INFO:\n\tChannel\tName\tUnit\tDirection\tCalibration\tOffset\n"
        "\t14\tPhase\tdeg\tboth\t1\t0\n\n:SCANIT_END:\n\n\n"
    ).encode()
    turned = GREY if direction == "down" else GREY[::-1]
    return header + b"\x1a\x04" + turned.astype(">f4").tobytes() + turned[:, ::-1].astype(">f4").tobytes()


def nanoscope() -> bytes:
    data = WHOLE[::-1].astype("<i2").tobytes()
    header = (
        "\\*File list\r\n\\Version: 0x05120130\r\n\\*Scanner list\r\n\\@Sens. Phase: V 3 deg/V\r\n"
        f"\\*Ciao image list\r\n\\Data offset: 2048\r\n\\Data length: {len(data)}\r\n\\Bytes/pixel: 2\r\n"
        f"\\Samps/line: {WIDTH}\r\n\\Number of lines: {HEIGHT}\r\n\\Scan Size: {ACROSS * 1e9} {DOWN * 1e9} nm\r\n"
        '\\Line Direction: Trace\r\n\\@2:Image Data: S [Phase] "Phase"\r\n'
        "\\@2:Z scale: V [Sens. Phase] (0.001 V/LSB) 65.536 V\r\n\\*File list end\r\n"
    ).encode()
    return (header + b"\x1a").ljust(2048, b"\0") + data


def ovf(version: int = 2, kind: str = "Binary 4") -> bytes:
    field = np.zeros((1, HEIGHT, WIDTH, 3))
    field[0, ..., 2] = GREY[::-1]
    order, size = "<" if version == 2 else ">", kind[-1]
    check = {"4": 1234567.0, "8": 123456789012345.0}
    data = " ".join(map(repr, field.ravel().tolist())).encode()
    if kind != "Text":
        data = np.array([check[size], *field.ravel()], f"{order}f{size}").tobytes()
    first = "# OOMMF OVF 2.0" if version == 2 else "# OOMMF: rectangular mesh v1.0"
    header = (
        f"{first}\n# Segment count: 1\n# Begin: Segment\n# Begin: Header\n# Title: m\n# meshunit: m\n"
        f"# xnodes: {WIDTH}\n# ynodes: {HEIGHT}\n# znodes: 1\n"
        f"# xstepsize: {PIXEL[0]}\n# ystepsize: {PIXEL[1]}\n# zstepsize: 1e-09\n"
        + ("# valuedim: 3\n" if version == 2 else "")
        + f"# End: Header\n# Begin: Data {kind}\n"
    )
    return header.encode() + data + f"\n# End: Data {kind}\n# End: Segment\n".encode()


def text() -> bytes:
    header = f"# Channel: Phase\n# Width: {ACROSS * 1e6} µm\n# Height: {DOWN * 1e6} µm\n# Value units: deg\n"
    return header.encode() + b"\n".join(b"\t".join(b"%r" % float(one) for one in row) for row in GREY) + b"\n"


def mdt() -> bytes:
    scales = struct.pack("<ffh", 0, 20, -1) + struct.pack("<ffh", 0, 25, -1) + struct.pack("<ffh", 0, 0.001, 2)
    body = scales + struct.pack("<4H", 0, WIDTH, HEIGHT, 0) + WHOLE[::-1].astype("<i2").tobytes()
    body += struct.pack("<I", 5) + b"Phase"
    frame = struct.pack("<IH2s6HH", 22 + len(body), 0, b"\1\1", *[0] * 6, len(scales)) + body
    return b"\x01\xb0\x93\xff" + struct.pack("<I", len(frame)) + b"\0" * 25 + frame


def digital_micrograph(version: int = 3) -> bytes:
    count = ">I" if version == 3 else ">Q"

    def tag(kind: int, name: str, content: bytes) -> bytes:
        size = struct.pack(">Q", len(content)) if version == 4 else b""
        return struct.pack(">BH", kind, len(name)) + name.encode() + size + content

    def data(name: str, info: list[int], raw: bytes) -> bytes:
        numbers = b"".join(struct.pack(count, one) for one in info)
        return tag(21, name, b"%%%%" + struct.pack(count, len(info)) + numbers + raw)

    def group(*parts: bytes) -> bytes:
        return b"\1\0" + struct.pack(count, len(parts)) + b"".join(parts)

    def axis(size: float) -> bytes:
        unit = "nm".encode("utf-16-le")
        return tag(20, "", group(data("Scale", [6], struct.pack("<f", size)), data("Units", [20, 4, 2], unit)))

    pixels = data("Data", [20, 6, GREY.size], GREY.astype("<f4").tobytes())
    sides = group(data("", [5], struct.pack("<I", WIDTH)), data("", [5], struct.pack("<I", HEIGHT)))
    axes = tag(20, "Calibrations", group(tag(20, "Dimension", group(axis(20), axis(25)))))
    image = group(tag(20, "ImageData", group(axes, pixels, tag(20, "Dimensions", sides))))
    root = group(tag(20, "ImageList", group(tag(20, "", image))))
    return struct.pack(">I", version) + struct.pack(count, len(root)) + struct.pack(">I", 1) + root


def ibw() -> bytes:
    """Return an Igor binary wave of version 5, (x, y, channel), with y upwards and a label of its one channel."""
    values = np.asfortranarray(GREY[::-1].T[..., None].astype("<f4"))
    labels = b"".join(one.ljust(32, b"\0") for one in (b"", b"PhaseTrace"))
    note = b"ScanSize: 1\r"
    dims = struct.pack("<4i", WIDTH, HEIGHT, 1, 0)
    steps, starts = struct.pack("<4d", *PIXEL, 1, 1), struct.pack("<4d", 0, 0, 0, 0)
    units = b"deg\0" + b"m\0\0\0" * 2 + b"\0" * 8
    wave = (
        struct.pack("<IIIiHH6sh32sii", 0, 0, 0, values.size, 2, 0, b"", 0, b"wave", 0, 0)
        + dims
        + steps
        + starts
        + units
    )
    wave = wave.ljust(320, b"\0")
    sizes = [320 + values.nbytes, 0, len(note), 0, 0, 0, 0, len(labels), 0, 0, 0]
    start = struct.pack("<hH4I", 5, 0, sizes[0], 0, len(note), 0)
    start += struct.pack("<4I4IIII", 0, 0, 0, 0, 0, 0, len(labels), 0, 0, 0, 0)
    return start[:64].ljust(64, b"\0") + wave + values.tobytes("F") + note + labels


def gwy() -> bytes:
    from gwyfile.objects import GwyContainer, GwyDataField

    field = GwyDataField(GREY.astype(np.float64), xreal=ACROSS, yreal=DOWN, si_unit_xy="m", si_unit_z="deg")
    container = GwyContainer()
    container["/0/data/title"], container["/0/data"] = "Phase", field
    file = io.BytesIO()
    container.tofile(file)
    return file.getvalue()


def park() -> bytes:
    header = struct.pack(
        "<i64s16sdiiiididiiidddddd16sddddd16s6idd16s16s16si",
        *(0, "Phase".encode("utf-16-le"), "MFM".encode("utf-16-le"), 0, 0, 0, WIDTH, HEIGHT, 0, 0, 0, 1, 0, 0),
        *(ACROSS * 1e6, DOWN * 1e6, 0, 0, 0, 0, b"", 0, 0, 0.001, 1, 0, "deg".encode("utf-16-le")),
        *(0, 0, 0, 0, 0, 0, 0, 0, b"", b"", b"", 0),
    )
    tags = [
        (50432, 4, 1, 0x0E031301, True),
        (50434, 7, WHOLE.nbytes, WHOLE[::-1].tobytes(), True),
        (50435, 7, len(header), header, True),
    ]
    return _tiff(np.zeros((8, 8), np.uint8), extratags=tags)


def jpk() -> bytes:
    """Return a TIFF as JPK's: the first page has the grid, each channel a name."""
    grid = [(32834, 12, 1, ACROSS, True), (32835, 12, 1, DOWN, True)]
    grid += [(32838, 4, 1, WIDTH, True), (32839, 4, 1, HEIGHT, True)]
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        tiff.write(np.zeros((4, 4), np.uint8), subfiletype=1, extratags=grid, metadata=None)
        for name in ("height", "phase"):
            tiff.write(GREY, extratags=[(32848, 2, 0, name, True), (32849, 4, 1, 0, True)], metadata=None)
    return file.getvalue()


def imagej() -> bytes:
    return _tiff(GREY, imagej=True, resolution=(1 / 20, 1 / 25), metadata={"unit": "nm"})


def ome() -> bytes:
    sizes = {"PhysicalSizeX": 20, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.025, "PhysicalSizeYUnit": "µm"}
    return _tiff(GREY, ome=True, metadata={"axes": "YX", **sizes})


def _tiff(pixels: NDArray[np.generic], **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)  # type: ignore[arg-type]
    return file.getvalue()
