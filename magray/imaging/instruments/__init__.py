"""Models of real instruments: what each senses of a film, in physical units, and what its detector adds.

`RANGES[name]()` are an instrument's usual parameters; `draw(n)` gives instruments for n pictures, `signal` what they
sense on the cells of n films, and `measured` what their detectors make of it on a picture's pixels.
"""

from magray.imaging.instruments.asymmetry import PeemRanges, SempaRanges, StxmRanges
from magray.imaging.instruments.kerr import KerrRanges
from magray.imaging.instruments.magnetisation import Magnetisation
from magray.imaging.instruments.mfm import MfmRanges
from magray.imaging.instruments.nv import NvRanges
from magray.imaging.instruments.ranges import Instrument, Ranges

RANGES: dict[str, type[Ranges]] = {
    "kerr": KerrRanges,
    "mfm": MfmRanges,
    "peem": PeemRanges,
    "stxm": StxmRanges,
    "sempa": SempaRanges,
    "nv": NvRanges,
}
RESOLUTIONS = {  # the length that limits what each resolves
    "kerr": "λ / (2 NA)",
    "mfm": "the lift",
    "peem": "the full width at half maximum",
    "stxm": "the full width at half maximum",
    "sempa": "the full width at half maximum",
    "nv": "the height",
}
REFUSED = {
    "lorentz": "Lorentz microscopy sees the induction in the plane: domains that point up and down, and Néel walls, "
    "leave no trace at zero tilt, and Bloch walls only lines"
}

__all__ = ["RANGES", "REFUSED", "RESOLUTIONS", "Instrument", "Magnetisation", "Ranges"]
