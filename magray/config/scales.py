"""Sets of training scales: some, such as "0.25+0.5+1.0", or all in a range, "0.25..1.0"."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from magray.errors import UserError, shortened

SMALLEST, LARGEST = 0.001, 10_000  # µm: domains are larger, and films smaller
SAME_SCALE = 0.024  # relative: a micrometre taken as 1000 nm instead of the paper's 1024 is the same scale
_RANGE = ".."  # between the ends of a range


@dataclass(frozen=True)
class ScaleSet:
    """The scales that a network is trained at: some, or all in a range.

    scales_um: ascending, µm; of a range its two ends. text: as it was written, which `str` returns.
    """

    scales_um: tuple[float, ...]
    is_range: bool = False
    text: str = field(default="", compare=False)

    @classmethod
    def parse(cls, text: str) -> "ScaleSet":
        """Read a set such as "0.25+0.5+1.0", or a range such as "0.25..1.0", µm.

        Raises UserError unless each scale is above 0, and a range has two ends.
        """
        is_range = _RANGE in text
        try:
            scales = tuple(sorted({float(part) for part in text.split(_RANGE if is_range else "+")}))
        except ValueError:
            scales = ()
        if not scales or not all(SMALLEST <= scale <= LARGEST for scale in scales):
            raise UserError(
                f'{shortened(text)} is not a set of scales; write for example "0.25+0.5+1.0" or "0.25..1.0", in µm'
            )
        if is_range and len(scales) != 2:
            raise UserError(
                f'{shortened(text)} is not a range of scales; write its two ends, for example "0.25..1.0", in µm'
            )
        return cls(scales, is_range, text)

    @classmethod
    def of(cls, scales_um: Iterable[float]) -> "ScaleSet":
        """Return the set of some scales."""
        return cls.parse("+".join(f"{scale:.10g}" for scale in sorted(scales_um)))

    def __str__(self) -> str:
        return self.text

    def contains(self, scale_um: float) -> bool:
        """Return whether a network of this set is trained at `scale_um`."""
        low, high = self.scales_um[0], self.scales_um[-1]
        if self.is_range and low <= scale_um <= high:
            return True
        return any(abs(scale_um / scale - 1) <= SAME_SCALE for scale in self.scales_um)


def _read(value: Any) -> ScaleSet:
    if isinstance(value, ScaleSet):
        return value
    if not isinstance(value, str):
        raise UserError(f'{shortened(value)} is not a set of scales; write it in quotes, for example "0.5+1.0", in µm')
    return ScaleSet.parse(value)


_NUMBER = r"\s*[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?\s*"
_SCHEMA = {
    "type": "string",
    "pattern": rf"^{_NUMBER}(\.\.{_NUMBER}|(\+{_NUMBER})*)$",
    "examples": ["0.5+1.0", "0.4..2.0"],
}
TrainScales = Annotated[  # in a config
    ScaleSet, PlainValidator(_read), PlainSerializer(str, return_type=str), WithJsonSchema(_SCHEMA)
]
