"""A picture's scale is taken from its file, and one that contradicts it is refused."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from magray.errors import UserError
from magray.imaging import read_picture
from magray.imaging.cleaning.frames import Box
from magray.project.picture import AS_USUAL, Reading, describe, preview, read_for_estimate
from tests.support.microscope_files import sxm
from tests.support.no_domains import no_domains
from tests.support.stripes import stripes


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """Return a TIFF of stripes whose pixels are 8 nm, as ImageJ tells it."""
    grey = (stripes(6, 0.4, 1, 160) + 1).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", grey, imagej=True, resolution=(125, 125), metadata={"unit": "micron"})
    return tmp_path / "a.tif"


def test_the_size_of_a_pixel_comes_from_the_file(scan: Path) -> None:
    _, scale, done = read_for_estimate([scan], None, None, AS_USUAL)
    assert scale.um is None
    assert scale.pixel_nm == pytest.approx(8)
    assert done == ()


@pytest.mark.parametrize(("scale_um", "pixel_nm", "option"), [(None, 8.5, "--pixel-nm"), (2.0, None, "--scale-um")])
def test_a_scale_that_contradicts_the_file_is_refused_with_both(
    scan: Path, scale_um: float | None, pixel_nm: float | None, option: str
) -> None:
    with pytest.raises(UserError, match=f"by {option}, its pixels are (8.5|12.8) nm, but the file says 8 nm"):
        read_for_estimate([scan], scale_um, pixel_nm, AS_USUAL)


@pytest.mark.parametrize(("scale_um", "pixel_nm"), [(None, 0.0), (0.0, None), (None, float("nan")), (1e300, None)])
def test_a_scale_that_is_none_is_refused(scan: Path, scale_um: float | None, pixel_nm: float | None) -> None:
    with pytest.raises(UserError, match="give a length from"):
        read_for_estimate([scan], scale_um, pixel_nm, AS_USUAL)


def test_a_scale_that_agrees_with_the_file_is_taken(scan: Path) -> None:
    assert read_for_estimate([scan], None, 8.3, AS_USUAL)[1].pixel_nm == 8.3
    assert read_for_estimate([scan], 1.25, None, AS_USUAL)[1].um == 1.25


def test_a_crop_keeps_the_size_of_a_pixel(scan: Path) -> None:
    """The side that --scale-um tells is that of the whole picture, 1.28 µm here in units of 1.024."""
    reading = Reading(crop=Box(10, 0, 140, 130))
    images, scale, _ = read_for_estimate([scan], 1.25, None, reading)
    assert images[0].shape == (130, 140)
    assert scale.pixel_nm == pytest.approx(8)
    with pytest.raises(UserError, match="does not lie in the picture of 160 × 160"):
        read_for_estimate([scan], None, None, Reading(crop=Box(100, 0, 100, 100)))


def test_pictures_of_two_scales_are_refused(scan: Path, tmp_path: Path) -> None:
    grey = tifffile.imread(scan)
    tifffile.imwrite(tmp_path / "b.tif", grey, imagej=True, resolution=(100, 100), metadata={"unit": "micron"})
    with pytest.raises(UserError, match=r"pixels of 10 nm, and .* of 8 nm"):
        read_for_estimate([scan, tmp_path / "b.tif"], None, None, AS_USUAL)


def test_a_picture_is_described_and_written_as_the_network_sees_it(scan: Path, tmp_path: Path) -> None:
    described = describe(scan, output=tmp_path / "seen.png")
    assert "160 × 160 pixels of 8 × 8 nm" in described.read
    assert read_picture(tmp_path / "seen.png").shape == (128, 128)


def test_a_picture_too_small_or_without_domains_is_described_so(tmp_path: Path) -> None:
    (tmp_path / "a.sxm").write_bytes(sxm())
    assert "too few" in str(describe(tmp_path / "a.sxm", Reading(channel="1")))
    np.save(tmp_path / "noise.npy", no_domains()["white noise"])
    assert "does not look like domains" in str(describe(tmp_path / "noise.npy"))


def test_a_preview_shows_the_first_of_several_channels_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    """What `magray picture` refuses is to be seen all the same, so that one can choose another channel."""
    pictures = np.stack([np.zeros((160, 160), np.float32), stripes(6, 0.4, 1, 160)])
    tifffile.imwrite(tmp_path / "two.tif", pictures, photometric="minisblack")
    first = preview(tmp_path / "two.tif")
    assert (len(first.channels), first.channel, first.seen) == (2, 0, None)
    assert first.shown.shape == (160, 160)
    assert first.doubt is not None
    assert "has no contrast" in first.doubt
    second = preview(tmp_path / "two.tif", Reading(channel="2"))
    assert second.channel == 1
    assert second.seen is not None
    assert second.seen.shape[0] == 128
