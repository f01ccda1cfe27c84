"""An adaptive integrator of the Landau-Lifshitz-Gilbert equation, with all terms at every stage.

Dormand and Prince's pair of fifth and fourth order (J. Comp. Appl. Math. 6, 19, 1980), with the error of each cell
controlled. Slow and simple: the reference of the quench. Works on NumPy and on CuPy arrays.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from magray.films.film import Film
from magray.films.protocol import Quench
from magray.micromagnetics.reference import llg_slope
from magray.units import GAMMA0

Array = Any  # of NumPy or CuPy, (..., 3, ny, nx)

_A = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_E = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)  # fifth order − fourth


def integrate(
    field: Callable[[Array], Array], m: Array, film: Film | Sequence[Film], stage: Quench, tolerance: float = 1e-5
) -> tuple[Array, int]:
    """Return m after `stage.duration` at 0 K, and the number of field evaluations.

    field: the whole field at m in units of Ms, or what of it is not along m. film: that of m (3, ny, nx), or the films
    of m (films, 3, ny, nx), which take the same steps. tolerance: largest error of a cell in one step.
    """
    films = [film] if isinstance(film, Film) else list(film)
    rates = [GAMMA0 * each.Ms / (1 + stage.alpha**2) for each in films]
    rate = rates[0] if isinstance(film, Film) else np.asarray(rates, m.dtype, like=m).reshape(-1, 1, 1, 1)
    k = np.empty_like(m, shape=(7, *m.shape))
    done, step, evaluations = 0.0, min(stage.duration, 0.01 / max(rates)), 1
    k[0] = rate * llg_slope(m, field(m), stage.alpha)
    while done < stage.duration * (1 - 1e-12):
        step = min(step, stage.duration - done)
        for i, row in enumerate(_A, start=1):
            there = m + _combined([step * a for a in row], k[:i])
            k[i] = rate * llg_slope(there, field(there), stage.alpha)
        evaluations += len(_A)
        error = float(np.max(np.abs(_combined([step * e for e in _E], k))))
        if error <= tolerance:
            done += step
            m = there / np.sqrt(np.sum(there * there, axis=-3, keepdims=True))
            k[0] = k[-1]
        step *= min(2.0, max(0.2, 0.9 * (tolerance / max(error, 1e-30)) ** 0.2)) if math.isfinite(error) else 0.1
    return m, evaluations


def _combined(factors: list[float], k: Array) -> Array:
    return np.tensordot(np.asarray(factors, k.dtype, like=k), k, axes=1)
