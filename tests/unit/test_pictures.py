"""Pictures are read whatever the bit depth, and what is none, or shows nothing, is refused with the reason."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from magray.errors import UserError
from magray.imaging import check_picture, read_picture, write_picture

GREY: NDArray[np.float64] = np.random.default_rng(0).uniform(0.2, 0.9, (40, 50))


@pytest.mark.parametrize(
    ("ending", "dtype"), [("png", "uint8"), ("png", "uint16"), ("tif", "uint8"), ("tif", "uint16"), ("tif", "uint32")]
)
def test_whole_numbers_are_read_as_shares_of_what_they_can_hold(tmp_path: Path, ending: str, dtype: str) -> None:
    full = np.iinfo(dtype).max
    pixels, path = np.rint(GREY * full).astype(dtype), tmp_path / f"a.{ending}"
    if ending == "png":
        Image.fromarray(pixels).save(path)
    else:
        tifffile.imwrite(path, pixels)
    np.testing.assert_allclose(read_picture(path), GREY, atol=0.6 / min(full, 65535))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floating_point_values_stay_as_they_are(tmp_path: Path, dtype: str) -> None:
    tifffile.imwrite(tmp_path / "a.tiff", (GREY * 700 - 300).astype(dtype))
    np.testing.assert_allclose(read_picture(tmp_path / "a.tiff"), GREY * 700 - 300, rtol=1e-5, atol=1e-4)


def test_black_and_white_pictures_are_read(tmp_path: Path) -> None:
    Image.fromarray(GREY > 0.5).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), GREY > 0.5)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_colour_becomes_luminance(tmp_path: Path, name: str) -> None:
    """Green is brighter than red, and red than blue."""
    pixels = np.repeat(np.eye(3), 16, axis=0)[None].repeat(24, axis=0)
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(tmp_path / name)
    red, green, blue = read_picture(tmp_path / name)[12, [8, 24, 40]]
    assert (red, green, blue) == pytest.approx((0.299, 0.587, 0.114), abs=0.02)


def test_a_written_picture_is_read_back(tmp_path: Path) -> None:
    pixels = np.rint(GREY * 255).astype(np.uint8)
    write_picture(tmp_path / "a.png", pixels)
    np.testing.assert_allclose(read_picture(tmp_path / "a.png") * 255, pixels, atol=1e-3)


def test_files_that_hold_no_picture_are_refused(tmp_path: Path) -> None:
    text, damaged, stack = tmp_path / "notes.png", tmp_path / "damaged.tif", tmp_path / "stack.tif"
    text.write_text("not a picture")
    damaged.write_bytes(b"II*\x00 and then nothing")
    tifffile.imwrite(stack, np.zeros((5, 40, 50), np.uint8))
    cut_short = tmp_path / "short.png"
    write_picture(cut_short, np.rint(GREY * 255).astype(np.uint8))
    cut_short.write_bytes(cut_short.read_bytes()[:300])
    for path, reason in (
        (tmp_path / "missing.png", "no such file"),
        (tmp_path, "no such file"),
        (text, "is not a picture"),
        (damaged, "cannot be read as TIFF"),
        (stack, "a stack of 5 pictures"),
        (cut_short, "cannot be read"),
    ):
        with pytest.raises(UserError, match=reason):
            read_picture(path)


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
def test_pictures_that_show_nothing_are_refused(values: NDArray[Any], reason: str) -> None:
    with pytest.raises(UserError, match=f"^mine: .*{reason}"):
        check_picture(values, "mine")


def test_one_dead_pixel_is_no_contrast() -> None:
    flat = np.full((40, 50), 7.0)
    flat[3, 4] = 200
    with pytest.raises(UserError, match="no contrast"):
        check_picture(flat)
