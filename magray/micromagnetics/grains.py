"""Grains: the Voronoi cells of random centres, each with a Ku1 of its own.

The film, taken as periodic, is divided into gx × gy equal tiles, as near to squares of the grain size as whole numbers
allow: Lx/gx by Ly/gy for a film of Lx by Ly. Each tile has one centre, anywhere in it (Philox, counter (tile,
STREAM_GRAINS, 0, 0), tile = ty·gx + tx), and a cell belongs to the centre that is nearest to its middle. The mean area
of a grain is the area of a tile.

The nearest centre lies at most two tiles away. Two tiles or more along an axis are 0.75 to 1.25 grain sizes long, since
gx and gy are rounded. The centre of the cell's own tile, w by h, lies within √(w² + h²), and one that is three tiles
away at least 2w or 2h away, which is more. A single tile is up to 1.5 grain sizes long, but then the centre repeats
itself along that axis and lies within half of that.

The same cells on every machine, GPUs too: double precision, each operation rounded on its own (no fused multiply-add),
in this order. For cell x and the tile at tx, which may lie outside of the film, with u the first number in (0, 1) of
the tile at (tx mod gx, ty mod gy), and tile_x = (nx · dx) / gx:

    a = (tx + u) · tile_x − (x + 0.5) · dx        b: the same along y, with the second number        a · a + b · b

Tiles are tried row by row about the cell's own, which is (2x + 1) · gx // (2 · nx) in whole numbers: ty from −2 to 2,
and for each, tx from −2 to 2. A later tile wins only if it is strictly nearer.
"""

import numpy as np
from numpy.typing import NDArray

from magray.micromagnetics.compiled import compiled
from magray.micromagnetics.philox import STREAM_GRAINS, uniforms

Pair = tuple[int, int]  # along x, along y
Sides = tuple[float, float, float]


def grain_map(cells: Pair, cell_size: Sides, grain_size: float, seed: int) -> NDArray[np.int32]:
    """Return the grain of each cell, from 0 to gx·gy − 1: (ny, nx). Grains smaller than a cell may have none."""
    gx, gy = tiles(cells, cell_size, grain_size)
    centres = uniforms(seed, np.arange(gx * gy, dtype=np.uint64), STREAM_GRAINS)[:2].reshape(2, gy, gx)
    return np.asarray(_nearest(centres, *cells, *cell_size[:2]))


def tiles(cells: Pair, cell_size: Sides, grain_size: float) -> Pair:
    """Return (gx, gy), the numbers of tiles along x and y. `grain_size`: √(mean area of a grain), m."""
    return max(1, round(cells[0] * cell_size[0] / grain_size)), max(1, round(cells[1] * cell_size[1] / grain_size))


@compiled()
def _nearest(centres: NDArray[np.float64], nx: int, ny: int, dx: float, dy: float) -> NDArray[np.int32]:
    """Return the tile of the nearest centre. `centres`: (2, gy, gx), in units of a tile from the tile's corner."""
    _, gy, gx = centres.shape
    tile_x, tile_y = nx * dx / gx, ny * dy / gy
    grains = np.empty((ny, nx), np.int32)
    for y in range(ny):
        own_y = (2 * y + 1) * gy // (2 * ny)
        for x in range(nx):
            own_x = (2 * x + 1) * gx // (2 * nx)
            nearest = np.inf
            for ty in range(own_y - 2, own_y + 3):
                for tx in range(own_x - 2, own_x + 3):
                    j, i = ty % gy, tx % gx
                    a = (tx + centres[0, j, i]) * tile_x - (x + 0.5) * dx
                    b = (ty + centres[1, j, i]) * tile_y - (y + 0.5) * dy
                    distance2 = a * a + b * b
                    if distance2 < nearest:
                        nearest = distance2
                        grains[y, x] = j * gx + i
    return grains
