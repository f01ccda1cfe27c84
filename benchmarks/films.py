"""The films that the benchmarks use: the paper's two materials over their whole ranges, and films of any material."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from magray import Film, Minimize, Protocol, Quench
from magray.units import MU0

CELL = (4e-9, 4e-9, 4e-9)
MINIMIZED = Protocol(stages=(Minimize(),))
QUENCHED = Protocol(stages=(Quench(alpha=0.5, duration=2e-9),))


def co_like(n: int, seed: int, protocol: Protocol = MINIMIZED) -> Film:
    """Return a Co-like film of n × n cells, D and σ drawn from the paper's ranges."""
    random = np.random.default_rng(seed)
    constants: dict[str, Any] = {"Ms": 1.5e6, "Ku1": 1.6e6, "Aex": 31e-12, "dmi": "bulk"}
    drawn: dict[str, Any] = {"D": random.uniform(0.1e-3, 1e-3), "sigma": random.uniform(0.05, 0.2)}
    return Film((n, n), CELL, **constants, **drawn, seed=seed, protocol=protocol)


def low_ms(n: int, seed: int, protocol: Protocol = MINIMIZED) -> Film:
    """Return a low-Ms film of n × n cells, Ms and σ drawn from the paper's ranges."""
    random = np.random.default_rng(seed)
    drawn: dict[str, Any] = {"Ms": random.uniform(2e5, 7e5), "sigma": random.uniform(0.05, 0.2)}
    return Film((n, n), CELL, **drawn, Ku1=0.4e6, Aex=10e-12, seed=seed, protocol=protocol)


def any_film(n: int, seed: int, protocol: Protocol = MINIMIZED) -> Film:
    """Return a random perpendicular film of n × n cells whose domains are much smaller than the film.

    Drawn are thickness over cell (0.15-9.7), wall width over cell (2.2-4), |D| over its critical value (to 0.97), the
    spread of Ku1, grains, and Keff from the stripe period that all of them give, a third of the window at most.
    """
    random = np.random.default_rng(seed)
    cell, ms = CELL[0], 1e6
    shape_anisotropy, longest = 0.5 * MU0 * ms**2, math.log(max(n, 128) / (9 * 5.54))
    while True:
        thickness, width, dmi = 0.15 * 65 ** random.uniform(), random.uniform(2.2, 4), random.uniform(0, 0.97)
        ratio = random.uniform(0.05, longest) * thickness / width / (2 * math.pi * (1 - dmi))  # Q − 1
        if 0.02 <= ratio <= 4:
            break
    keff = ratio * shape_anisotropy
    aex = (width * cell) ** 2 * keff
    constants: dict[str, Any] = {"Ms": ms, "Ku1": keff + shape_anisotropy, "Aex": aex, "dmi": "interfacial"}
    drawn: dict[str, Any] = {
        "D": dmi * 4 * math.sqrt(aex * keff) / math.pi,
        "sigma": random.uniform(0, 0.15) * min(1, ratio / 0.3),
        "grain_size": float(random.choice([0, 12e-9])),
    }
    return Film((n, n), (cell, cell, thickness * cell), **constants, **drawn, seed=seed, protocol=protocol)


def one_thickness(n: int, seed: int, protocol: Protocol = MINIMIZED) -> Film:
    """Return the same film with a thickness of 4 nm."""
    return replace(any_film(n, seed, protocol), cell_size=CELL)


MATERIALS = {"Co-like": co_like, "low-Ms": low_ms, "any": any_film}
