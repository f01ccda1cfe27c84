"""Files of microscopes are read with their pixel size, or refused in one line, however damaged they are."""

import contextlib
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from magray.errors import UserError
from magray.imaging import read_picture, read_scan, read_scans
from tests.support import microscope_files as files
from tests.support.microscope_files import GREY, PIXEL

KINDS: dict[str, tuple[Callable[[], bytes], str | None]] = {  # the file, and the channel to choose
    "gsf": (files.gsf, None),
    "sxm": (files.sxm, "forward"),
    "sxm, upwards": (partial(files.sxm, "up"), "backward"),
    "nanoscope": (files.nanoscope, None),
    "ovf": (files.ovf, None),
    "ovf of 8 bytes": (partial(files.ovf, 2, "Binary 8"), None),
    "ovf 1": (partial(files.ovf, 1), None),
    "ovf as text": (partial(files.ovf, 2, "Text"), None),
    "text": (files.text, None),
    "mdt": (files.mdt, None),
    "dm3": (files.digital_micrograph, None),
    "dm4": (partial(files.digital_micrograph, 4), None),
    "ibw": (files.ibw, None),
    "gwy": (files.gwy, None),
    "park": (files.park, None),
    "jpk": (files.jpk, "phase"),
    "imagej": (files.imagej, None),
    "ome": (files.ome, None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_a_microscope_is_read_upright_with_its_pixel_size(tmp_path: Path, kind: str) -> None:
    """Formats of whole numbers hold three decimals, up to the step that they tell."""
    make, channel = KINDS[kind]
    (tmp_path / "scan.dat").write_bytes(make())
    scan = read_scan(tmp_path / "scan.dat", channel)
    steps = {"nanoscope": 3.0}.get(kind, 1.0)  # the sensitivity, deg/V
    np.testing.assert_allclose(scan.values, GREY * steps, atol=0.0006 * steps)
    assert scan.pixel == pytest.approx(PIXEL, rel=1e-5)


@pytest.mark.parametrize("kind", ["gsf", "sxm", "nanoscope", "mdt", "ibw", "gwy", "park", "text"])
def test_names_and_units_of_channels_come_from_the_file(tmp_path: Path, kind: str) -> None:
    (tmp_path / "scan.dat").write_bytes(KINDS[kind][0]())
    scan = read_scans(tmp_path / "scan.dat")[0]
    assert scan.name.startswith("Phase")
    assert scan.unit == ("V" if kind == "mdt" else "deg")


def test_a_scan_with_two_channels_is_refused_with_the_list(tmp_path: Path) -> None:
    (tmp_path / "scan.sxm").write_bytes(files.sxm())
    with pytest.raises(UserError, match=r"2 pictures; .*--channel: 1 Phase forward, 2 Phase backward"):
        read_picture(tmp_path / "scan.sxm")
    with pytest.raises(UserError, match="no channel 'Height'; --channel takes one of: 1 Phase forward"):
        read_picture(tmp_path / "scan.sxm", channel="Height")
    np.testing.assert_array_equal(read_picture(tmp_path / "scan.sxm", channel="2"), GREY)


def test_arrays_of_python_objects_are_refused_without_being_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((16, 16), None), allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read as NumPy"):
        read_picture(tmp_path / "a.npy")


def test_numpy_files_are_read_as_they_are(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GREY)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.npy"), GREY)
    np.save(tmp_path / "b.npy", np.stack([GREY, -GREY]))
    np.testing.assert_array_equal(read_picture(tmp_path / "b.npy", channel="picture 2"), -GREY)


def test_resolutions_of_prints_are_no_sizes_of_pixels(tmp_path: Path) -> None:
    """300 dots per inch are 85 µm; no domain picture has such pixels."""
    (tmp_path / "a.tif").write_bytes(files._tiff(GREY, resolution=(300, 300), resolutionunit="INCH"))
    assert read_scan(tmp_path / "a.tif").pixel is None
    (tmp_path / "a.tif").write_bytes(files._tiff(GREY, resolution=(500_000, 400_000), resolutionunit="CENTIMETER"))
    assert read_scan(tmp_path / "a.tif").pixel == pytest.approx(PIXEL)


@pytest.mark.parametrize("size", [(b"XRes = 16", b"XRes = 99999"), (b"XRes = 16", b"XRes = -1"), (b"XRes", b"Xres")])
def test_sizes_that_are_not_true_are_refused(tmp_path: Path, size: tuple[bytes, bytes]) -> None:
    (tmp_path / "a.gsf").write_bytes(files.gsf().replace(*size))
    with pytest.raises(UserError, match="cannot be read as Gwyddion Simple Field"):
        read_picture(tmp_path / "a.gsf")


FLIPS = int(os.environ.get("DAMAGED_FILES", "40"))  # of each kind; `make fuzz` tries more


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_of_microscopes_are_pictures_or_refused(
    tmp_path: Path, kind: str, recwarn: pytest.WarningsRecorder
) -> None:
    """Up to four wrong bytes in each file, most of them in its first kilobyte, cause no crash, hang or exhaustion."""
    whole, random, started = KINDS[kind][0](), np.random.default_rng(len(kind)), time.monotonic()
    path = tmp_path / "damaged"
    for _ in range(FLIPS):
        damaged = bytearray(whole)
        for _ in range(random.integers(1, 5)):
            place = int(random.integers(min(1000, len(whole)) if random.random() < 0.8 else len(whole)))
            damaged[place] = (0, 1, 127, 255, int(random.integers(256)))[random.integers(5)]
        path.write_bytes(damaged)
        with contextlib.suppress(UserError):
            assert all(scan.values.ndim == 2 for scan in read_scans(path))
    assert time.monotonic() - started < 1 + 0.2 * FLIPS
