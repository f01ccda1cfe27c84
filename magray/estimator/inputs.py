"""Validate the input of an estimator: pictures of many types, and their scale."""

import hashlib
import math
import sys
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from magray.errors import UserError
from magray.imaging.luminance import luminance

if TYPE_CHECKING:
    import torch

MIN_LENGTH, MAX_LENGTH = 1e-3, 1e5  # of scales in µm and pixels in nm: wider than the range of any microscope
MIN_GREY, MAX_GREY = 1e-30, 1e30  # brightest values of floating-point pictures that single precision can process
GREY_MODES = ("1", "L", "I", "I;16", "I;16L", "I;16B", "F")  # of Pillow

Picture = NDArray[Any]
GivenPicture = Union[NDArray[Any], "torch.Tensor", Image.Image, Sequence[Sequence[float]]]


def pictures_of(given: GivenPicture | Iterable[GivenPicture]) -> list[Picture]:
    """Return arrays of grey values of a picture, or of an iterable of several.

    A picture is a NumPy array, a tensor, a Pillow image, or a list of rows of numbers. Raises UserError for anything
    else, and for values that are not grey values.
    """
    if _is_picture(given):
        return [_grey_values(given)]
    if isinstance(given, (str, bytes, dict, set)) or not isinstance(given, Iterable):
        raise UserError(f"{_kind(given)} is no picture; give its pixels, as magray.imaging.read_picture reads them")
    pictures = [_grey_values(one) for one in given]
    if not pictures:
        raise UserError("give at least one picture")
    return pictures


def different_pictures(pictures: Sequence[Picture]) -> list[Picture]:
    """Return the pictures without those that are the same, pixel by pixel, as one before."""
    return list({_digest(picture): picture for picture in pictures}.values())


def _digest(picture: Picture) -> bytes:
    values = np.ascontiguousarray(picture, np.float64)
    return hashlib.blake2b(values.tobytes() + repr(picture.shape).encode()).digest()


def check_length(value: object, name: str) -> None:
    """Raise UserError unless `value` is None or a plausible length. name: of the quantity, with its unit."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Real):
        raise UserError(f"{name}: give a number, not {_kind(value)}")
    try:
        length = float(value)
    except OverflowError:  # of a whole number
        length = math.inf
    if not MIN_LENGTH <= length <= MAX_LENGTH:
        raise UserError(f"{name}: give a length from {MIN_LENGTH:g} to {MAX_LENGTH:g}, not {length:g}")


def _is_picture(given: Any) -> bool:
    if isinstance(given, (list, tuple)):
        return bool(given) and all(isinstance(row, (list, tuple)) and row and _is_number(row[0]) for row in given)
    return isinstance(given, (np.ndarray, Image.Image)) or _is_tensor(given)


def _is_tensor(given: Any) -> bool:
    torch = sys.modules.get("torch")  # not imported: loading it takes a second and a half, and many commands do without
    return torch is not None and isinstance(given, torch.Tensor)


def _is_number(value: Any) -> bool:
    return isinstance(value, (Real, np.bool_))


def _grey_values(given: Any) -> Picture:
    """Return a picture as an array of whole or floating-point numbers."""
    if not _is_picture(given):
        raise UserError(f"{_kind(given)} is no picture; give its pixels, as magray.imaging.read_picture reads them")
    pixels = _array(given)
    if isinstance(pixels, np.ma.MaskedArray):
        if np.ma.is_masked(pixels):
            raise UserError("picture: some of its pixels are masked; crop them away")
        pixels = pixels.data
    if pixels.dtype == bool:
        return pixels.astype(np.uint8)
    if not (np.issubdtype(pixels.dtype, np.integer) or np.issubdtype(pixels.dtype, np.floating)):
        raise UserError(f"picture: its pixels are {pixels.dtype}, not whole or floating-point numbers")
    return _of_known_precision(pixels) if np.issubdtype(pixels.dtype, np.floating) else pixels


def _of_known_precision(pixels: Picture) -> Picture:
    """Return floating-point pixels as float32 or float64. `check_picture` reports values that are not finite."""
    brightest = float(np.abs(pixels).max(initial=0))
    if 0 < brightest < MIN_GREY or MAX_GREY < brightest < np.inf:
        raise UserError(f"picture: its brightest value is {brightest:g}, and no grey values are like that")
    return pixels if pixels.dtype in (np.float32, np.float64) else pixels.astype(np.float64)


def _array(given: Any) -> Picture:
    """Return a picture of any type as an array of any type of numbers."""
    if _is_tensor(given):
        given = given.detach().cpu()
        return np.asarray((given.float() if str(given.dtype) == "torch.bfloat16" else given).numpy())
    if isinstance(given, Image.Image):
        if given.mode == "RGB":
            return luminance(np.moveaxis(np.asarray(given, np.float32), -1, 0))
        if given.mode not in GREY_MODES:
            raise UserError(f"picture: a Pillow image of mode {given.mode}; make it grey first, by .convert('L')")
        return np.asarray(given)
    if isinstance(given, np.ndarray):
        return given
    try:
        return np.asarray(given)
    except (ValueError, OverflowError) as error:
        raise UserError("picture: its rows have other lengths, or values that are no numbers") from error


def _kind(given: object) -> str:
    """Return an object's type for an error message; a string, which is probably a path, as it is."""
    return repr(given) if isinstance(given, str) else f"a {type(given).__name__}"
