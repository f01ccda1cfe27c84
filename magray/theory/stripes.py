"""Stripe theory: the period of parallel stripes from a film's constants, and D from a period.

The energy is that of `magray.theory.patterns` for a square wave of the period 2 W, minimised over W, Δ and the angle of
the walls. Its limits: W = √(σw t / (0.136 µ0 Ms²)) in thick films (Kittel, Phys. Rev. 70, 965, 1946), and
0.955 t exp(π σw / (µ0 Ms² t)) in thin ones with yet thinner walls (Kaplan and Gehring, J. Magn. Magn. Mater. 128, 111,
1993).

It knows nothing of history: films that are frozen on their way have shorter periods, demagnetised ones often longer.
"""

import math
from typing import Any

import numpy as np
from scipy.optimize import brentq

from magray.theory.patterns import Layer, Pattern, dmi_of_pattern, stretching_force

TERMS = 2.5  # harmonics of the square wave, times W/Δ: the next ones are smaller by exp(−25)
WIDEST = 1e5  # W/Δ, beyond which a film counts as one domain


def stripes(layer: Layer, period: float) -> Pattern:
    """Return the pattern of parallel stripes with a period, m."""
    half = period / 2
    count = math.ceil(TERMS * half / layer.widths[0] / 2) + 4
    n = 2 * np.arange(count) + 1.0
    return Pattern(np.asarray(np.pi * n / half), 8 / (np.pi * n) ** 2, 1 / half)


def stripe_period(layer: Layer, D: float) -> float:
    """Return the period of stripes in the state of least energy, m. The sign of D, J/m², makes no difference.

    Infinite where it would be beyond WIDEST: a single domain. NaN where D is so large that walls cost no energy.
    """

    def force(log_period: float) -> float:
        return stretching_force(layer, D, stripes(layer, math.exp(log_period)))

    narrow, wide = math.log(4 * layer.widths[0]), math.log(2 * WIDEST * layer.widths[0])
    if force(narrow) > 0:
        return math.nan
    longer = narrow + 1
    while force(longer) < 0:
        if longer > wide:
            return math.inf
        longer += 1
    found: Any = brentq(force, longer - 1, longer, xtol=1e-6)
    return math.exp(found)


def dmi_of_period(layer: Layer, period: float) -> float:
    """Return |D| of a film whose stripes of least energy have this period, J/m². NaN if no D gives it, or for NaN."""
    return dmi_of_pattern(layer, stripes(layer, period)) if 0 < period < math.inf else math.nan
