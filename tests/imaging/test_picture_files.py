"""Pictures are read from every kind of file; files without a picture, with several, or without contrast are refused."""

import io
import os
import re
import resource
import struct
import time
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from magray.errors import UserError
from magray.imaging import check_picture, read_picture, write_picture

GREY: NDArray[np.float64] = np.random.default_rng(0).uniform(0.2, 0.9, (40, 50))
BYTES: NDArray[np.uint8] = np.rint(GREY * 255).astype(np.uint8)
SHARES = BYTES / 255
COLOUR = np.repeat(BYTES[..., None], 3, axis=-1)
OPAQUE = np.full_like(BYTES, 255)
STAIRS = np.linspace(20, 230, 50).astype(np.uint8)[None].repeat(40, axis=0)  # smooth, for lossy compressions

Write = Callable[[Path], object]


def by_tifffile(pixels: NDArray[Any], **options: Any) -> Write:
    return lambda path: tifffile.imwrite(path, pixels, **options)


def by_pillow(pixels: NDArray[Any], mode: str = "", **options: Any) -> Write:
    def write(path: Path) -> None:
        picture = Image.fromarray(pixels)
        (picture.convert(mode) if mode else picture).save(path, **options)

    return write


def tiff_page(data: bytes, width: int, height: int, *, following: int = 0, **tags: int) -> bytes:
    """Return a TIFF file of one grey page of 8 bits, with other tags as given, true or not."""
    values = {"t256": width, "t257": height, "t258": 8, "t259": 1, "t262": 1, "t273": 8, "t277": 1, "t278": height}
    values |= {"t279": len(data)} | tags
    entries = [struct.pack("<HHII", int(name[1:]), 4, 1, value) for name, value in sorted(values.items())]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def four_bits(photometric: int) -> Write:
    nibbles = BYTES >> 4 if photometric else 15 - (BYTES >> 4)
    data = (nibbles[:, ::2] << 4 | nibbles[:, 1::2]).tobytes()
    return lambda path: path.write_bytes(tiff_page(data, 50, 40, t258=4, t262=photometric))


FALLING = np.arange(255, -1, -1, dtype=np.uint16)  # a palette from white to black: no index is its grey value


def by_palette(**options: Any) -> Write:
    def write(path: Path) -> None:
        picture = Image.fromarray(255 - BYTES)
        picture.putpalette(FALLING.astype(np.uint8).repeat(3).tobytes())
        picture.save(path, **options)

    return write


def with_thumbnail(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(BYTES[::4, ::4], subfiletype=1)
        file.write(BYTES)


EXACT: dict[str, Write] = {
    "grey.png": by_pillow(BYTES),
    "grey16.png": by_pillow(BYTES.astype(np.uint16) * 257),
    "palette.png": by_palette(),
    "alpha.png": by_pillow(np.stack([BYTES, OPAQUE], -1)),
    "colour.png": by_pillow(COLOUR),
    "colour_alpha.png": by_pillow(np.dstack([COLOUR, OPAQUE])),
    "grey.gif": by_pillow(BYTES),
    "palette.gif": by_palette(),
    "palette.bmp": by_palette(),
    "grey.bmp": by_pillow(BYTES),
    "colour.bmp": by_pillow(COLOUR),
    "png_named.tif": by_pillow(BYTES, format="PNG"),
    "tiff_named.jpg": by_tifffile(BYTES),
    "grey.tif": by_tifffile(BYTES),
    "grey16.tif": by_tifffile(BYTES.astype(np.uint16) * 257),
    "grey32.tif": by_tifffile(BYTES.astype(np.uint32) * 0x1010101),
    "big_endian.tif": by_tifffile(BYTES.astype(np.uint16) * 257, byteorder=">"),
    "signed.tif": by_tifffile(np.rint(SHARES * 32767).astype(np.int16)),
    "float16.tif": by_tifffile(SHARES.astype(np.float16)),
    "float32.tif": by_tifffile(SHARES.astype(np.float32)),
    "float64.tif": by_tifffile(SHARES),
    "big.tif": by_tifffile(BYTES, bigtiff=True),
    "white_is_zero.tif": by_tifffile(255 - BYTES, photometric="miniswhite"),
    "white_is_zero16.tif": by_tifffile((255 - BYTES).astype(np.uint16) * 257, photometric="miniswhite"),
    "white_is_zero_lzw.tif": by_pillow(BYTES, compression="tiff_lzw", tiffinfo={262: 0}),  # Pillow inverts 8 bits
    "white_is_zero16_lzw.tif": by_pillow(
        (255 - BYTES).astype(np.uint16) * 257, compression="tiff_lzw", tiffinfo={262: 0}
    ),
    "palette.tif": by_tifffile(255 - BYTES, photometric="palette", colormap=np.stack([FALLING * 257] * 3)),
    "palette_of_bytes.tif": by_tifffile(255 - BYTES, photometric="palette", colormap=np.stack([FALLING] * 3)),
    "palette_lzw.tif": by_palette(compression="tiff_lzw"),
    "colour.tif": by_tifffile(COLOUR, photometric="rgb"),
    "colour16.tif": by_tifffile(COLOUR.astype(np.uint16) * 257, photometric="rgb"),
    "planes.tif": by_tifffile(np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate"),
    "colour_alpha.tif": by_tifffile(np.dstack([COLOUR, OPAQUE]), photometric="rgb", extrasamples=["unassalpha"]),
    "padded.tif": by_tifffile(np.dstack([COLOUR, 0 * OPAQUE]), photometric="rgb", extrasamples=["unspecified"]),
    "alpha.tif": by_pillow(np.stack([BYTES, OPAQUE], -1)),
    "cmyk.tif": by_pillow(COLOUR, "CMYK"),
    "cmyk_lzw.tif": by_pillow(COLOUR, "CMYK", compression="tiff_lzw"),
    "lzw.tif": by_pillow(BYTES, compression="tiff_lzw"),
    "lzw16.tif": by_pillow(BYTES.astype(np.uint16) * 257, compression="tiff_lzw"),
    "lzw_float.tif": by_pillow(SHARES.astype(np.float32), compression="tiff_lzw"),
    "lzw_float_predictor.tif": by_pillow(SHARES.astype(np.float32), compression="tiff_lzw", tiffinfo={317: 3}),
    "lzw_colour_predictor.tif": by_pillow(COLOUR, compression="tiff_lzw", tiffinfo={317: 2}),
    "lzw_alpha.tif": by_pillow(np.dstack([COLOUR, OPAQUE]), compression="tiff_lzw"),
    "packbits.tif": by_pillow(BYTES, compression="packbits"),
    "deflate.tif": by_tifffile(BYTES, compression="zlib"),
    "predictor.tif": by_tifffile(BYTES.astype(np.uint16) * 257, compression="zlib", predictor=True),
    "strips.tif": by_tifffile(BYTES, rowsperstrip=7),
    "strips_deflate.tif": by_tifffile(BYTES, rowsperstrip=7, compression="zlib"),
    "tiles.tif": by_tifffile(BYTES, tile=(16, 16)),
    "tiles_deflate.tif": by_tifffile(BYTES, tile=(16, 32), compression="zlib"),
    "thumbnail.tif": with_thumbnail,
}
ROUNDED: dict[str, tuple[Write, NDArray[Any], float]] = {
    "grey.jpg": (by_pillow(STAIRS, quality=95), STAIRS / 255, 0.02),
    "colour.jpg": (by_pillow(np.dstack([STAIRS] * 3), quality=95), STAIRS / 255, 0.02),
    "cmyk.jpg": (by_pillow(np.dstack([STAIRS] * 3), "CMYK", quality=95), STAIRS / 255, 0.02),
    "jpeg.tif": (by_pillow(STAIRS, compression="jpeg", quality=95), STAIRS / 255, 0.02),
    "jpeg_colour.tif": (by_pillow(np.dstack([STAIRS] * 3), compression="jpeg", quality=95), STAIRS / 255, 0.02),
    "bits4.tif": (four_bits(1), SHARES, 0.07),
    "bits4_white_is_zero.tif": (four_bits(0), SHARES, 0.07),
    "bits1.png": (by_pillow(GREY > 0.5), GREY > 0.5, 0),
    "bits1.tif": (by_tifffile(GREY > 0.5, photometric="minisblack"), GREY > 0.5, 0),
    "bits1_white_is_zero.tif": (by_tifffile(GREY < 0.5, photometric="miniswhite"), GREY > 0.5, 0),
    "fax.tif": (by_pillow(GREY > 0.5, compression="group4"), GREY > 0.5, 0),
    "float_white_is_zero.tif": (by_tifffile(-GREY * 700, photometric="miniswhite"), GREY * 700, 1e-4),
}
KINDS = EXACT | {name: write for name, (write, _, _) in ROUNDED.items()}


@pytest.mark.parametrize("name", EXACT)
def test_a_picture_has_the_same_grey_values_in_every_kind_of_file(tmp_path: Path, name: str) -> None:
    EXACT[name](tmp_path / name)
    np.testing.assert_allclose(read_picture(tmp_path / name), SHARES, atol=0.0003)


@pytest.mark.parametrize("name", ROUNDED)
def test_kinds_that_round_show_the_same_domains(tmp_path: Path, name: str) -> None:
    write, shown, tolerance = ROUNDED[name]
    write(tmp_path / name)
    np.testing.assert_allclose(read_picture(tmp_path / name), shown, atol=tolerance)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_colour_becomes_luminance(tmp_path: Path, name: str) -> None:
    """Green is brighter than red, and red than blue."""
    pixels = np.repeat(np.eye(3), 16, axis=0)[None].repeat(24, axis=0)
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(tmp_path / name)
    red, green, blue = read_picture(tmp_path / name)[12, [8, 24, 40]]
    assert (red, green, blue) == pytest.approx((0.299, 0.587, 0.114), abs=0.02)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floating_point_values_stay_as_they_are(tmp_path: Path, dtype: str) -> None:
    tifffile.imwrite(tmp_path / "a.tiff", (GREY * 700 - 300).astype(dtype))
    np.testing.assert_allclose(read_picture(tmp_path / "a.tiff"), GREY * 700 - 300, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "lzw.tif"])
def test_pictures_are_upright_as_viewers_show_them(tmp_path: Path, name: str, orientation: int) -> None:
    """The reference for a viewer is ImageOps.exif_transpose of Pillow."""
    options: dict[str, Any] = {"compression": "tiff_lzw"} if "lzw" in name else {}
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(STAIRS[:, ::-1] // 2 + STAIRS[:40, :1] + np.arange(40, dtype=np.uint8)[:, None])
    picture.save(tmp_path / name, exif=exif, **options)
    with Image.open(io.BytesIO((tmp_path / name).read_bytes())) as reference:  # by path, Pillow scrambles some TIFFs
        reference.load()
        expected = np.asarray(ImageOps.exif_transpose(reference))
    np.testing.assert_allclose(read_picture(tmp_path / name) * 255, expected, atol=0.01)


def test_threads_that_read_at_once_leave_the_settings_of_the_process_as_they_were(tmp_path: Path) -> None:
    """Pillow's limit and the filters of warnings are changed while a file is read."""
    for name in "ab":
        write_picture(tmp_path / f"{name}.png", np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8))
    before = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    with ThreadPoolExecutor(8) as at_once:
        assert len(list(at_once.map(read_picture, 100 * [tmp_path / "a.png", tmp_path / "b.png"]))) == 200
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


def test_a_written_picture_is_read_back(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", BYTES)
    np.testing.assert_allclose(read_picture(tmp_path / "a.png") * 255, BYTES, atol=1e-3)


def test_a_last_strip_that_claims_more_than_the_file_has_is_read(tmp_path: Path) -> None:
    """Old programs of instruments count its bits, or the bytes of a full strip. The picture is complete."""
    whole = tiff_page(BYTES.tobytes(), 50, 40)
    directory = bytearray(whole[8 + BYTES.size :])
    directory[2 + 12 * 8 + 8 : 2 + 12 * 9] = struct.pack("<I", 8 * BYTES.size)
    directory[2 + 12 * 5 + 8 : 2 + 12 * 6] = struct.pack("<I", 8 + len(directory))
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + bytes(directory) + BYTES.tobytes())
    np.testing.assert_allclose(read_picture(tmp_path / "a.tif"), SHARES, atol=1e-4)


def frames(**options: Any) -> Write:
    first, second = Image.fromarray(BYTES), Image.fromarray(255 - BYTES)
    return lambda path: first.save(path, save_all=True, append_images=[second], **options)


HOLES = np.where(np.arange(50) == 7, 0, OPAQUE).astype(np.uint8)
REFUSED: dict[str, tuple[Write, str]] = {
    "text.png": (lambda path: path.write_text("not a picture"), "is not a picture; PNG, TIFF, JPEG, GIF and BMP"),
    "postscript.png": (lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n"), "is not a picture"),
    "other.webp": (by_pillow(BYTES), "is not a picture"),
    "empty.tif": (lambda path: path.write_bytes(b""), "is not a picture"),
    "damaged.tif": (lambda path: path.write_bytes(b"II*\x00 and then nothing"), "cannot be read as TIFF"),
    "short.png": (lambda path: path.write_bytes(bytes_of(by_pillow(BYTES), path)[:300]), "cannot be read as PNG"),
    "short.tif": (lambda path: path.write_bytes(tiff_page(b"\1" * 1999, 50, 40)), "parts of the picture are missing"),
    "no_strip.tif": (lambda path: path.write_bytes(tiff_page(b"\1" * 9, 50, 40, t279=0)), "parts of the picture"),
    "stack.tif": (by_tifffile(np.zeros((5, 40, 50), np.uint8)), "a stack of 5 pictures; save the one"),
    "long_stack.tif": (by_tifffile(np.zeros((150, 4, 5), np.uint8)), "more than 100 pictures"),
    "one_page_stack.tif": (by_tifffile(np.zeros((5, 40, 50), np.uint8), truncate=True), "a stack of 5 pictures"),
    "imagej_stack.tif": (
        by_tifffile(np.zeros((5, 40, 50), np.uint8), imagej=True, truncate=True),
        "a stack of 5 pictures",
    ),
    "channels.tif": (
        by_tifffile(np.dstack([BYTES, 255 - BYTES]), photometric="minisblack", extrasamples=["unspecified"]),
        "a stack of 2 pictures",
    ),
    "thumbnail_only.tif": (by_tifffile(BYTES, subfiletype=1), "only reduced copies"),
    "animated.gif": (frames(), "a stack of 2 pictures"),
    "animated.png": (frames(), "a stack of 2 pictures"),
    "transparent.png": (by_pillow(np.dstack([COLOUR, HOLES])), "has 40 transparent pixels"),
    "transparent_grey.png": (by_pillow(np.stack([BYTES, HOLES], -1)), "has 40 transparent pixels"),
    "transparent_colour.png": (by_pillow(COLOUR, transparency=(int(BYTES[0, 0]),) * 3), "transparent pixels"),
    "transparent_value.png": (by_pillow(BYTES, transparency=int(BYTES[0, 0])), "transparent pixels"),
    "transparent.gif": (by_palette(transparency=int(255 - BYTES[0, 0])), "transparent pixels"),
    "transparent.tif": (
        by_tifffile(np.dstack([COLOUR, HOLES]), photometric="rgb", extrasamples=["unassalpha"]),
        "has 40 transparent pixels",
    ),
    "transparent_lzw.tif": (by_pillow(np.dstack([COLOUR, HOLES]), compression="tiff_lzw"), "40 transparent pixels"),
    "complex.tif": (by_tifffile(GREY.astype(np.complex64)), "of a kind that is not read"),
    "lab.tif": (by_pillow(COLOUR, "LAB"), "its colours are of a kind"),
    "six_inks.tif": (
        by_tifffile(np.dstack([COLOUR, COLOUR]), photometric="separated", extratags=[(332, 3, 1, 2)]),
        "its colours are of a kind",
    ),
    "wide_bits.tif": (lambda path: path.write_bytes(tiff_page(bytes(99), 5, 4, t258=60000)), "60000 bits"),
}


def bytes_of(write: Write, path: Path) -> bytes:
    write(path)
    return path.read_bytes()


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_without_exactly_one_picture_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    write, reason = REFUSED[name]
    write(tmp_path / name)
    with pytest.raises(UserError, match=f"^{tmp_path / name}: [^\n]*{reason}"):
        read_picture(tmp_path / name)


def test_only_files_are_opened(tmp_path: Path) -> None:
    """A pipe without a writer, or a device without an end, would be read for ever."""
    os.mkfifo(tmp_path / "pipe.png")
    for path, reason in (
        (tmp_path / "missing.png", "no such file"),
        (tmp_path / "missing" / "a.png", "no such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe.png", "is no regular file"),
        (Path("/dev/zero"), "is no regular file"),
        (tmp_path / "nul\0.png", "null"),
        (tmp_path / ("long" * 70), "name too long"),
    ):
        with pytest.raises(UserError, match=f"(?i)^{re.escape(str(path))}: .*{reason}"):
            read_picture(path)


def giant(path: Path) -> bytes:
    """Return a small picture's file that claims 20000 × 20000 pixels; a PNG has a checksum of that."""
    file = bytearray(bytes_of(by_pillow(BYTES), path))
    frame = file.find(b"\xff\xc0") + 5
    at, form = {".png": (16, ">II"), ".gif": (6, "<HH"), ".bmp": (18, "<ii"), ".jpg": (frame, ">HH")}[path.suffix]
    struct.pack_into(form, file, at, 20000, 20000)
    if path.suffix == ".png":
        struct.pack_into(">I", file, 29, zlib.crc32(file[12:29]))
    return bytes(file)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.bmp", "a.tif", "lzw.tif", "channels.tif", "tile.tif"])
def test_giant_pictures_are_refused_before_memory_is_taken(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "channels.tif":  # few pixels, many channels
        path.write_bytes(tiff_page(b"\1" * 64, 2000, 2000, t277=4000, t262=1))
    elif name == "tile.tif":
        path.write_bytes(tiff_page(b"\1" * 64, 20, 20, t322=32768, t323=32768, t324=8, t325=64))
    elif path.suffix == ".tif":
        path.write_bytes(tiff_page(b"\1" * 64, 20000, 20000, t259=5 if "lzw" in name else 1))
    else:
        path.write_bytes(giant(path))
    before = peak_bytes()
    with pytest.raises(UserError, match=r"more than 64 megapixels|more than 256 MB"):
        read_picture(path)
    assert peak_bytes() - before < 50e6


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_larger_picture_is_read_if_asked_for(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", BYTES)
    with pytest.raises(UserError, match=r"more than 0\.001 megapixels; .* --max-megapixels 1$"):
        read_picture(tmp_path / "a.tif", max_megapixels=0.001)
    assert read_picture(tmp_path / "a.tif", max_megapixels=0.002).shape == (40, 50)


def test_strips_that_inflate_to_more_than_they_should_are_refused(tmp_path: Path) -> None:
    """A picture of 2000 pixels, in which 100 million bytes lie packed."""
    pack, zeros = zlib.compressobj(1), bytes(1_000_000)
    bomb = b"".join([*(pack.compress(zeros) for _ in range(100)), pack.flush()])
    (tmp_path / "a.tif").write_bytes(tiff_page(bomb, 50, 40, t259=8))
    before = peak_bytes()
    with pytest.raises(UserError, match="inflates to more"):
        read_picture(tmp_path / "a.tif")
    assert peak_bytes() - before < 50e6


def test_a_list_of_pages_that_never_ends_is_refused(tmp_path: Path) -> None:
    """Each of 150 pages leads to the next, and the last to the fifth: more than tifffile detects."""
    page = tiff_page(BYTES.tobytes(), 50, 40)[8 + BYTES.size : -4]
    first, step = 8 + BYTES.size, len(page) + 4
    following = [first + step * number for number in range(1, 150)] + [first + step * 4]
    ring = b"".join(page + struct.pack("<I", offset) for offset in following)
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", first) + BYTES.tobytes() + ring)
    with pytest.raises(UserError, match="more than 100 pictures"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("tag", [258, 273, 279, 33628, 50838])
def test_tags_of_millions_of_numbers_are_refused_before_they_are_read(tmp_path: Path, tag: int) -> None:
    page = tiff_page(BYTES.tobytes(), 50, 40, **{f"t{tag}": 8})
    entry = page.index(struct.pack("<HHI", tag, 4, 1), 8 + BYTES.size)
    path = tmp_path / "a.tif"
    path.write_bytes(page[: entry + 4] + struct.pack("<I", 5_000_000) + page[entry + 8 :])
    os.truncate(path, 21_000_000)
    before = peak_bytes()
    with pytest.raises(UserError, match="too many strips, tiles or planes"):
        read_picture(path)
    assert peak_bytes() - before < 20e6


def test_a_file_much_larger_than_a_picture_is_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", BYTES)
    os.truncate(tmp_path / "a.png", 300_000_000)
    with pytest.raises(UserError, match=r"is a file of 300 MB, .* --max-megapixels 75$"):
        read_picture(tmp_path / "a.png")


def test_a_jpeg_of_low_quality_is_refused_unless_its_blocks_are_not_seen(tmp_path: Path) -> None:
    """Of 1024 pixels, eight make one that the network sees."""
    path = tmp_path / "domains.jpg"
    stripes = np.where(np.arange(1024) // 40 % 2, np.uint8(200), np.uint8(50))
    for side, quality in ((256, 50), (1024, 10)):
        Image.fromarray(np.tile(stripes[:side], (side, 1))).save(path, quality=quality)
        assert read_picture(path).shape == (side, side)
    Image.fromarray(np.tile(stripes[:256], (256, 1))).save(path, quality=10)
    with pytest.raises(UserError, match=r"domains.jpg: is compressed too much, as a JPEG of quality 10: .* save it as"):
        read_picture(path)


def test_a_jpeg_of_endless_scans_is_refused(tmp_path: Path) -> None:
    progressive = bytes_of(by_pillow(BYTES, progressive=True), tmp_path / "a.jpg")
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    (tmp_path / "a.jpg").write_bytes(progressive[:-2] + scan * 100 + b"\xff\xd9")
    with pytest.raises(UserError, match="more than 100 scans"):
        read_picture(tmp_path / "a.jpg")


FILES = int(os.environ.get("DAMAGED_FILES", "50"))  # of each kind; `make fuzz` tries 200
DECODERS = (
    *("grey.png", "palette.png", "alpha.png", "grey.jpg", "cmyk.jpg", "palette.gif", "colour.bmp"),
    *("grey.tif", "big.tif", "palette.tif", "planes.tif", "cmyk.tif", "predictor.tif", "tiles_deflate.tif"),
    *("lzw16.tif", "packbits.tif", "jpeg_colour.tif", "fax.tif", "thumbnail.tif"),
)


@pytest.mark.parametrize("name", DECODERS)
def test_damaged_files_are_pictures_or_refused(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    """Up to four wrong bytes in each file, most of them in the header, cause no crash, hang or memory exhaustion."""
    whole, path = bytes_of(KINDS[name], tmp_path / name), tmp_path / "damaged"
    random, memory, started, refused = np.random.default_rng(len(name)), peak_bytes(), time.monotonic(), 0
    for _ in range(FILES):
        damaged = bytearray(whole)
        for _ in range(random.integers(1, 5)):
            near = int(random.integers(min(300, len(whole)) if random.random() < 0.8 else len(whole)))
            place = near if random.random() < 0.5 else -1 - near
            damaged[place] = (0, 1, 127, 255, int(random.integers(256)))[random.integers(5)]
        path.write_bytes(damaged)
        try:
            assert read_picture(path).dtype == np.float32
        except UserError:
            refused += 1
    assert refused
    assert time.monotonic() - started < 60
    assert peak_bytes() - memory < 1e9
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def with_a_hole() -> NDArray[np.float64]:
    return np.where(np.arange(50) == 7, np.nan, GREY)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((40, 50), 7.0), "no contrast"),
        (np.zeros((40, 50)), "no contrast"),
        (with_a_hole(), "not finite"),
        (np.zeros((0, 50)), "rows and columns"),
        (np.zeros((40, 50, 2)), "rows and columns"),
    ],
)
def test_pictures_without_domains_are_refused(values: NDArray[Any], reason: str) -> None:
    with pytest.raises(UserError, match=f"^mine: .*{reason}"):
        check_picture(values, "mine")


def test_one_dead_pixel_is_no_contrast() -> None:
    flat = np.full((40, 50), 7.0)
    flat[3, 4] = 200
    with pytest.raises(UserError, match="no contrast"):
        check_picture(flat)
