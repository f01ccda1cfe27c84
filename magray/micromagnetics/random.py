"""Counter-based random numbers: the same seed gives the same film on every machine, in any order, on a GPU too.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11, 2011). The key is the
film's 64-bit seed, the counter is (cell, stream, 0, 0), where cell = y·nx + x: each cell's four 32-bit words depend on
nothing else. Words become numbers in double precision and are rounded to single precision last.
"""

import numpy as np
from numpy.typing import NDArray

from magray.films.film import Film

STREAM_START, STREAM_KU1 = 0, 1

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def philox(counter: NDArray[np.uint64], key: tuple[int, int]) -> NDArray[np.uint64]:
    """Four random 32-bit words for each counter. `counter`: (4, n), each word below 2**32; `key`: two 32-bit words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ np.uint64(k0), p1 & _LOW, (p0 >> _32) ^ c3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3])


def uniforms(film: Film, stream: int) -> NDArray[np.float64]:
    """Four numbers in (0, 1) for each cell of the film: (4, ny, nx)."""
    nx, ny = film.cells
    counter = np.zeros((4, ny * nx), np.uint64)
    counter[0] = np.arange(ny * nx, dtype=np.uint64)
    counter[1] = stream
    words = philox(counter, (film.seed & 0xFFFFFFFF, film.seed >> 32))
    # the half keeps 0 and 1 out, so that no logarithm meets a 0
    return ((words.astype(np.float64) + 0.5) / 2**32).reshape(4, ny, nx)


def normals(film: Film, stream: int) -> NDArray[np.float64]:
    """One standard normal number for each cell, by Box and Muller: (ny, nx)."""
    u = uniforms(film, stream)
    return np.asarray(np.sqrt(-2 * np.log(u[0])) * np.cos(2 * np.pi * u[1]))


def random_directions(film: Film) -> NDArray[np.float32]:
    """Unit vectors, uniform on the sphere, each cell its own: (3, ny, nx)."""
    u = uniforms(film, STREAM_START)
    z, angle = 2 * u[0] - 1, 2 * np.pi * u[1]
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(angle), r * np.sin(angle), z]).astype(np.float32)


def ku1_map(film: Film) -> NDArray[np.float32]:
    """Each cell's Ku1 relative to the film's mean: 1 + sigma·ξ with ξ standard normal: (ny, nx)."""
    if film.sigma == 0:
        return np.ones((film.cells[1], film.cells[0]), np.float32)
    return (1 + film.sigma * normals(film, STREAM_KU1)).astype(np.float32)


def initial_state(film: Film) -> NDArray[np.float32]:
    """The state that the film's protocol begins with: unit vectors (3, ny, nx)."""
    if film.protocol.initial == "random":
        return random_directions(film)
    up = np.zeros((3, film.cells[1], film.cells[0]), np.float32)
    up[2] = 1
    return up
