"""Read picture files for an estimator: choose the channel, and agree on the scale with what the file says."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from magray.errors import UserError
from magray.imaging import MAX_MEGAPIXELS, check_picture, read_scan
from magray.imaging.scan import Scan
from magray.imaging.views import NM_PER_SCALE_UM

AGREEMENT = 0.05  # of the size of a pixel, as the user and the file tell it


@dataclass(frozen=True)
class Reading:
    """How picture files are read: which channel, up to which size."""

    channel: str | None = None
    max_megapixels: float = MAX_MEGAPIXELS


@dataclass(frozen=True)
class Scale:
    """The size of pictures: either the length of the shorter side, µm, or the size of a pixel, nm."""

    um: float | None
    pixel_nm: float | None


AS_IT_IS = Reading()


def read_for_estimate(
    paths: Sequence[str | Path], scale_um: float | None, pixel_nm: float | None, reading: Reading
) -> tuple[list[NDArray[Any]], Scale]:
    """Return the pictures of files of one film, and their scale: as told, or else as the files say.

    Raises UserError where both are given, neither is known, or the two contradict each other.
    """
    if scale_um is not None and pixel_nm is not None:
        raise UserError("give the size of the picture: either --scale-um or --pixel-nm")
    images, sizes = [], []
    for path in paths:
        scan = read_scan(path, reading.channel, reading.max_megapixels)
        check_picture(scan.values, str(path))
        sizes.append(_pixel_nm(scan, path, scale_um, pixel_nm))
        images.append(scan.values)
    if scale_um is not None or pixel_nm is not None:
        return images, Scale(scale_um, pixel_nm)
    for path, size in zip(paths, sizes, strict=True):
        if differ(size, sizes[0]):
            raise UserError(
                f"{path}: has pixels of {size:.4g} nm, and {paths[0]} of {sizes[0]:.4g} nm; "
                "give pictures of one scale together"
            )
    return images, Scale(None, sizes[0])


def differ(one: float, other: float) -> bool:
    """Return whether two sizes of a pixel contradict each other."""
    return abs(one / other - 1) > AGREEMENT


def _pixel_nm(scan: Scan, path: str | Path, scale_um: float | None, pixel_nm: float | None) -> float:
    """Return the size of a pixel, nm. Raises UserError if it is not known, or told otherwise than by the file."""
    told = pixel_nm
    if scale_um is not None:
        told = scale_um * NM_PER_SCALE_UM / min(scan.values.shape)
    found = None if scan.pixel is None else 1e9 * scan.pixel[0]
    if told is None and found is None:
        raise UserError(f"{path}: give the size of the picture, by --scale-um or --pixel-nm; the file does not tell it")
    if told is not None and found is not None and differ(told, found):
        option = "--pixel-nm" if scale_um is None else "--scale-um"
        raise UserError(
            f"{path}: by {option}, its pixels are {told:.4g} nm, but the file says {found:.4g} nm; leave {option} out, "
            "or save the picture without its scale if that is wrong"
        )
    return float(told if told is not None else found or 0)
