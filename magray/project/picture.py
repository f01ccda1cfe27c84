"""Read picture files for an estimator: choose the channel, crop, clean, and agree on the scale with the file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magray.errors import UserError
from magray.estimator.inputs import check_length
from magray.imaging import MAX_MEGAPIXELS, VIEW_SIZE, check_picture, read_scan, write_picture
from magray.imaging.cleaning import STEPS, Cleaned, clean
from magray.imaging.cleaning.clean import cut
from magray.imaging.cleaning.frames import Box
from magray.imaging.scan import Scan
from magray.imaging.views import NM_PER_SCALE_UM

AGREEMENT = 0.05  # of the size of a pixel, as the user and the file tell it
SHOWN = 2.5  # standard deviations of what the network sees, from grey to black and to white


@dataclass(frozen=True)
class Reading:
    """The options for reading picture files: which channel, which part, which steps of cleaning, up to which size."""

    channel: str | None = None
    max_megapixels: float = MAX_MEGAPIXELS
    crop: Box | None = None
    steps: tuple[str, ...] = tuple(STEPS)


@dataclass(frozen=True)
class Scale:
    """The size of pictures: either the length of the shorter side, µm, or the size of a pixel, nm."""

    um: float | None
    pixel_nm: float | None


@dataclass(frozen=True, eq=False)
class Read:
    """A picture as its file holds it, and as it is after cleaning."""

    path: str | Path
    scan: Scan
    cleaned: Cleaned


@dataclass(frozen=True)
class Description:
    """The content of a picture's file, what was done to it, and why it does not look like domains, if so."""

    read: str
    done: tuple[str, ...]
    doubt: str | None

    def __str__(self) -> str:
        verdict = "looks like domains" if self.doubt is None else self.doubt
        return "\n".join([self.read, *(self.done or ("nothing had to be cleaned",)), verdict])


AS_USUAL = Reading()


def read_one(path: str | Path, reading: Reading = AS_USUAL) -> Read:
    """Return a picture of a file, cropped and cleaned. Raises UserError, which begins with the path."""
    scan = read_scan(path, reading.channel, reading.max_megapixels)
    try:
        cleaned = clean(scan if reading.crop is None else cut(scan, reading.crop), reading.steps)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    check_picture(cleaned.values, str(path))
    return Read(path, scan, cleaned)


def read_for_estimate(
    paths: Sequence[str | Path], scale_um: float | None, pixel_nm: float | None, reading: Reading
) -> tuple[list[NDArray[Any]], Scale, tuple[str, ...]]:
    """Return the pictures of files of one film, their scale, and what was done to them.

    The scale is as told, or else as the files say; that of a picture's side is of the picture before it is cropped.
    Raises UserError where both are given, neither is known, or the two contradict each other.
    """
    if scale_um is not None and pixel_nm is not None:
        raise UserError("give the size of the picture: either --scale-um or --pixel-nm")
    reads = [read_one(path, reading) for path in paths]
    sizes = [_pixel_nm(one, scale_um, pixel_nm) for one in reads]
    images = [one.cleaned.values for one in reads]
    done = tuple(f"{one.path}: {line}" for one in reads for line in one.cleaned.done)
    if scale_um is not None and all(one.cleaned.values.shape == one.scan.values.shape for one in reads):
        return images, Scale(scale_um, None), done
    for path, size in zip(paths, sizes, strict=True):
        if differ(size, sizes[0]):
            raise UserError(
                f"{path}: has pixels of {size:.4g} nm, and {paths[0]} of {sizes[0]:.4g} nm; "
                "give pictures of one scale together"
            )
    return images, Scale(None, sizes[0]), done


def describe(path: str | Path, reading: Reading = AS_USUAL, output: Path | None = None) -> Description:
    """Return what is read in a file and done to it, and write what the network will see to `output`, a PNG."""
    from magray.estimator.any_film import seen_squares

    one = read_one(path, reading)
    if min(one.cleaned.values.shape) < VIEW_SIZE:
        height, width = one.cleaned.values.shape
        return Description(
            _said(one.scan), one.cleaned.done, f"{width} × {height} pixels are too few; 128 × 128 are seen"
        )
    shown = seen_squares(one.cleaned.values, 1.0, None)
    if output is not None:
        row = np.concatenate(list(shown.views.numpy()), axis=1)
        write_picture(output, np.clip((row / SHOWN + 1) * 127.5, 0, 255).astype(np.uint8))
    return Description(_said(one.scan), one.cleaned.done, shown.no_domains)


def differ(one: float, other: float) -> bool:
    """Return whether two sizes of a pixel contradict each other."""
    return abs(one / other - 1) > AGREEMENT


def _said(scan: Scan) -> str:
    """Return what a file says of a picture, in one line."""
    height, width = scan.values.shape
    low, high = float(np.nanmin(scan.values)), float(np.nanmax(scan.values))
    size = "of unknown size"
    if scan.pixel is not None:
        size = f"of {scan.pixel[0] * 1e9:.4g} × {scan.pixel[1] * 1e9:.4g} nm"
    parts = [scan.format, scan.name, scan.instrument, f"{width} × {height} pixels {size}"]
    return ", ".join([part for part in parts if part] + [f"{low:.4g} to {high:.4g} {scan.unit}".strip()])


def _pixel_nm(one: Read, scale_um: float | None, pixel_nm: float | None) -> float:
    """Return the size of a pixel, nm. Raises UserError if it is not known, or told otherwise than by the file."""
    check_length(pixel_nm, "size of a pixel, nm")
    check_length(scale_um, "scale, µm")
    found, told = one.cleaned.pixel, pixel_nm
    if scale_um is not None:
        height, width = one.scan.values.shape
        across, down = one.scan.pixel or (1.0, 1.0)
        told = scale_um * NM_PER_SCALE_UM / min(width * across, height * down) * (found or 1.0)
    if told is None and found is None:
        raise UserError(
            f"{one.path}: give the size of the picture, by --scale-um or --pixel-nm; the file does not tell it"
        )
    if told is not None and found is not None and differ(told, 1e9 * found):
        option = "--pixel-nm" if scale_um is None else "--scale-um"
        raise UserError(
            f"{one.path}: by {option}, its pixels are {told:.4g} nm, but the file says {1e9 * found:.4g} nm; leave "
            f"{option} out, or save the picture without its scale if that is wrong"
        )
    return told if told is not None else 1e9 * (found or 0.0)
