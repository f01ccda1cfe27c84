"""Counter-based random numbers: a seed gives the same film on every machine, in any order, on GPUs too.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11, 2011). The key is the
film's 64-bit seed, the counter is (cell, stream, step, stage), where cell = y·nx + x: each cell's four 32-bit words
depend on nothing else. Words become numbers in double precision and are rounded to single precision last.
"""

import numpy as np
from numpy.typing import NDArray

STREAM_START, STREAM_KU1, STREAM_GRAINS, STREAM_THERMAL = range(4)

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def philox(counter: NDArray[np.uint64], key: tuple[int, int]) -> NDArray[np.uint64]:
    """Return four random 32-bit words for each counter, (4, n). counter: (4, n) 32-bit words; key: two of them."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ np.uint64(k0), p1 & _LOW, (p0 >> _32) ^ c3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3])


def uniforms(
    seed: int, places: NDArray[np.uint64], stream: int, counter: tuple[int, int] = (0, 0)
) -> NDArray[np.float64]:
    """Return four numbers in (0, 1) for each of the places (cells or grains): (4, n). counter: (step, stage)."""
    step, stage = counter
    counters = np.broadcast_arrays(places, *(np.uint64(word) for word in (stream, step, stage)))
    words = philox(np.stack(counters), (seed & 0xFFFFFFFF, seed >> 32))
    # the half keeps 0 and 1 out, so that no logarithm meets a 0
    return (words.astype(np.float64) + 0.5) / 2**32


def normals(
    seed: int, places: NDArray[np.uint64], stream: int, counter: tuple[int, int] = (0, 0)
) -> NDArray[np.float64]:
    """Return three standard normal numbers for each of the places, by Box and Muller: (3, n)."""
    u = uniforms(seed, places, stream, counter)
    r0, r1 = np.sqrt(-2 * np.log(u[0])), np.sqrt(-2 * np.log(u[2]))
    return np.stack([r0 * np.cos(2 * np.pi * u[1]), r0 * np.sin(2 * np.pi * u[1]), r1 * np.cos(2 * np.pi * u[3])])
