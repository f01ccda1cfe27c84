"""Training sets: scales such as "0.25+0.5+1.0", or a range of them, "0.25..1.0"."""

from collections.abc import Sequence

from magray.errors import UserError, shortened

SMALLEST, LARGEST = 0.001, 10_000  # µm: domains are larger, and films smaller
RANGE = ".."  # between the ends of a range of scales
SAME_SCALE = 0.024  # relative: a micrometre taken as 1000 nm instead of the paper's 1024 is the same scale


def parse_scales(text: str) -> tuple[float, ...]:
    """The scales, µm and ascending, of a set such as "0.25+0.5+1.0", or the ends of a range such as "0.25..1.0".

    Raises UserError unless each is above 0, and a range has two.
    """
    parts = text.split(RANGE if is_range(text) else "+")
    try:
        scales = tuple(sorted({float(part) for part in parts}))
    except ValueError:
        scales = ()
    if not scales or not all(SMALLEST <= scale <= LARGEST for scale in scales):
        raise UserError(
            f'{shortened(text)} is not a set of scales; write for example "0.25+0.5+1.0" or "0.25..1.0", in µm'
        )
    if is_range(text) and len(scales) != 2:
        raise UserError(
            f'{shortened(text)} is not a range of scales; write its two ends, for example "0.25..1.0", in µm'
        )
    return scales


def is_range(train_set: str) -> bool:
    """Return whether a training set is a range of scales, "0.25..1.0"."""
    return RANGE in train_set


def is_trained(scale_um: float, scales_um: Sequence[float], between: bool) -> bool:
    """Return whether a scale is one of `scales_um`, ascending, or, if `between`, lies between their ends."""
    if between and scales_um[0] <= scale_um <= scales_um[-1]:
        return True
    return any(abs(scale_um / scale - 1) <= SAME_SCALE for scale in scales_um)
