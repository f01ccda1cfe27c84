"""Read picture files for an estimator: choose the channel, crop, clean, and agree on the scale with the file."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magray.errors import UserError
from magray.estimator.inputs import check_length
from magray.imaging import MAX_MEGAPIXELS, VIEW_SIZE, check_picture, grey_range, read_scan, read_scans, write_picture
from magray.imaging.cleaning import STEPS, Cleaned, clean, steps_of
from magray.imaging.cleaning.clean import cut
from magray.imaging.cleaning.frames import Box
from magray.imaging.scan import Scan, chosen
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

    @classmethod
    def of(cls, channel: str | None, crop: str | None, clean: str, max_megapixels: float) -> "Reading":
        """Return the options from texts: a crop as "x,y,width,height", steps as `steps_of` reads them.

        Raises UserError for other texts.
        """
        box = None
        if crop is not None:
            if not re.fullmatch(r"[0-9]{1,6}(,[0-9]{1,6}){3}", crop):
                raise UserError("--crop: give four whole numbers, x,y,width,height, as in 0,0,512,480")
            box = Box(*map(int, crop.split(",")))
        return cls(channel, max_megapixels, box, steps_of(clean))


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


@dataclass(frozen=True, eq=False)
class Preview:
    """What people check before an estimate: the channels of a file, the one that is read, and what the network sees.

    shown: the picture as the file holds it, uncropped, grey values (h, w) of 8 bits. pixel: the width and height of one
    of its pixels, m, None if the file does not tell it. seen: the views of the network side by side, grey values
    (128, k · 128), None if there are none. doubt: why the picture cannot be used or does not look like domains.
    """

    channels: tuple[str, ...]
    channel: int
    shown: NDArray[np.uint8]
    pixel: tuple[float, float] | None
    read: str
    done: tuple[str, ...]
    seen: NDArray[np.uint8] | None
    doubt: str | None


AS_USUAL = Reading()


def read_one(path: str | Path, reading: Reading = AS_USUAL) -> Read:
    """Return a picture of a file, cropped and cleaned. Raises UserError, which begins with the path."""
    return _cleaned(path, read_scan(path, reading.channel, reading.max_megapixels), reading)


def _cleaned(path: str | Path, scan: Scan, reading: Reading) -> Read:
    """Return a picture after it is cropped and cleaned. Raises UserError, which begins with the path."""
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
    one = read_one(path, reading)
    seen, doubt = _seen(one.cleaned)
    if output is not None and seen is not None:
        write_picture(output, seen)
    return Description(_said(one.scan), one.cleaned.done, doubt)


def preview(path: str | Path, reading: Reading = AS_USUAL) -> Preview:
    """Return a picture file for people to look at; without a channel in `reading`, its first picture.

    Raises UserError for what cannot be read; what speaks against the picture that is read is its `doubt`.
    """
    scans = read_scans(path, reading.max_megapixels)
    try:
        scan = scans[0] if reading.channel is None else chosen(scans, reading.channel)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    done: tuple[str, ...] = ()
    seen = None
    try:
        one = _cleaned(path, scan, reading)
        done = one.cleaned.done
        seen, doubt = _seen(one.cleaned)
    except UserError as error:
        doubt = str(error)
    number = next(index for index, other in enumerate(scans) if other is scan)
    names = tuple(other.name for other in scans)
    return Preview(names, number, _grey(scan.values), scan.pixel, _said(scan), done, seen, doubt)


def _seen(cleaned: Cleaned) -> tuple[NDArray[np.uint8] | None, str | None]:
    """Return the views that the network sees side by side, and why they do not look like domains."""
    from magray.estimator.shown import seen_squares

    height, width = cleaned.values.shape
    if min(height, width) < VIEW_SIZE:
        return None, f"{width} × {height} pixels are too few; 128 × 128 are seen"
    shown = seen_squares(cleaned.values, 1.0, None)
    row = np.concatenate(list(shown.views.numpy()), axis=1)
    return as_shown(row), shown.no_domains


def as_shown(view: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return grey values for people of what a network sees, in standard deviations."""
    return np.asarray(np.clip((view / SHOWN + 1) * 127.5, 0, 255), np.uint8)


def _grey(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return grey values of 8 bits from the darkest domains to the brightest; black where nothing was measured."""
    finite = values[np.isfinite(values)]
    low, high = grey_range(finite) if finite.size else (0.0, 1.0)
    share = (np.nan_to_num(values, nan=low, posinf=high, neginf=low).astype(np.float64) - low) / ((high - low) or 1.0)
    return np.asarray(255 * np.clip(share, 0, 1), np.uint8)


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
