"""The macros through which the kernels have the constants of the Python code: one scheme on every backend."""

from magray.micromagnetics.backend import HISTORY
from magray.micromagnetics.demag_tensor import NEAR, SMOOTH
from magray.micromagnetics.llg import MAX_INNER_STEPS
from magray.micromagnetics.minimizer import (
    ENERGY_NOISE,
    MAX_ROTATION,
    MIN_CURVATURE,
    NONMONOTONE_WINDOW,
    OVERSTEPS,
)

SCHEME: dict[str, int | float | str] = {
    "HISTORY": HISTORY,
    "NONMONOTONE_WINDOW": NONMONOTONE_WINDOW,
    "MAX_ROTATION": f"{MAX_ROTATION}f",  # in single precision
    "ENERGY_NOISE": ENERGY_NOISE,
    "OVERSTEPS": OVERSTEPS,
    "MIN_CURVATURE": MIN_CURVATURE,
    "MAX_INNER_STEPS": MAX_INNER_STEPS,
    "NEAR": NEAR,
    "SMOOTH": SMOOTH,
}
