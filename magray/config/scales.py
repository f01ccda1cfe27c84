"""Training sets: scales such as "0.25+0.5+1.0", or a range of them, "0.25..1.0"."""

from magray.errors import UserError

RANGE = ".."  # between the ends of a range of scales


def parse_scales(text: str) -> tuple[float, ...]:
    """The scales, µm and ascending, of a set such as "0.25+0.5+1.0", or the ends of a range such as "0.25..1.0".

    Raises UserError unless each is above 0, and a range has two.
    """
    parts = text.split(RANGE if is_range(text) else "+")
    try:
        scales = tuple(sorted({float(part) for part in parts}))
    except ValueError:
        scales = ()
    if not scales or not all(0 < scale < float("inf") for scale in scales):
        raise UserError(f'{text!r} is not a set of scales; write for example "0.25+0.5+1.0" or "0.25..1.0", in µm')
    if is_range(text) and len(scales) != 2:
        raise UserError(f'{text!r} is not a range of scales; write its two ends, for example "0.25..1.0", in µm')
    return scales


def is_range(train_set: str) -> bool:
    """Whether a training set is a range of scales, "0.25..1.0"."""
    return RANGE in train_set
