"""The demagnetising tensors of a batch: computed on the device, and shared by slots with cells of the same sides."""

import math
from typing import Any

import cupy as cp
import numpy as np
from numpy.typing import NDArray

from magray.films.film import Film
from magray.micromagnetics.demag_tensor import padded_cells, summed_images

ORDER = np.dtype(
    [*((name, np.float64) for name in ("x", "y", "z", "scale")), ("place", np.int32), ("unused", np.int32)], align=True
)
MAKING = 2**28  # bytes of device memory that tensors take together while they are made, unless one needs more

Kind = tuple[float, float, float, float]  # sides of a cell, the largest 1; scale of the tensor


def kind_of(record: NDArray[np.void]) -> Kind:
    """Return the inputs of the tensor of a film's record, beside the number of cells."""
    x, y, z = (float(record[name]) for name in ("cell_x", "cell_y", "cell_z"))
    unit = max(x, y, z)
    return x / unit, y / unit, z / unit, float(record["demag"])


class Tensors:
    """A table of N in Fourier space, divided by the number of cells, for the non-negative wave numbers.

    table: (slots, 4, py/2+1, stride) for Nxx, Nyy, Nzz, Nxy; 0 for films without a demagnetising field.
    """

    def __init__(self, module: Any, film: Film, slots: int, stride: int) -> None:
        self.module, self.stride = module, stride
        self.nx, self.ny = padded_cells(film.cells, film.open_axes)
        self.images = summed_images(film.cells, film.open_axes)
        self.turns = [cp.asarray(_turns(n)) for n in (self.nx, self.ny)]
        self.table = cp.zeros((slots, 4, self.ny // 2 + 1, stride), np.float32)
        self.places: dict[Kind, int] = {}  # in the order of their last use
        self.held: dict[int, Kind] = {}  # by slot

    def assign(self, kinds: dict[int, Kind]) -> dict[int, int]:
        """Return the place of each slot's tensor in the table, and compute those that are missing.

        A tensor stays at least as long as a slot holds a film of its kind.
        """
        self.held |= kinds
        orders = []
        for kind in dict.fromkeys(kinds.values()):
            known = kind in self.places
            self.places[kind] = self.places.pop(kind) if known else self._free_place()
            if not known:
                orders.append((*kind[:3], kind[3] / (self.nx * self.ny), self.places[kind], 0))
        high, wide = self.ny // 2 + 1, self.nx // 2 + 1
        together = max(1, MAKING // (2 * 4 * 8 * high * wide))
        for first in range(0, len(orders), together):
            self._make(np.array(orders[first : first + together], ORDER))
        return {slot: self.places[kind] for slot, kind in kinds.items()}

    def _free_place(self) -> int:
        """Return a free place, or that of the tensor whose last use is the longest ago."""
        if len(self.places) < len(self.table):
            return len(self.places)
        held = set(self.held.values())
        return self.places.pop(next(kind for kind in self.places if kind not in held))

    def _make(self, orders: NDArray[np.void]) -> None:
        cells = (self.ny // 2 + 1) * (self.nx // 2 + 1)
        quarter, mixed = (cp.zeros((len(orders), 4, cells)) for _ in range(2))
        listed = cp.asarray(np.frombuffer(orders.tobytes(), np.uint8))
        sizes, blocks = (np.int32(self.nx), np.int32(self.ny)), math.ceil(cells / 128)
        images = [np.int32(count) for count in self.images]
        self._kernel("tensor_cells")((blocks, len(orders)), (128,), (listed, quarter, *sizes, *images))
        grid = (blocks, 4, len(orders))
        self._kernel("tensor_columns")(grid, (128,), (quarter, mixed, self.turns[1], *sizes))
        table = (listed, mixed, self.table, self.turns[0], *sizes, np.int32(self.stride))
        self._kernel("tensor_rows")(grid, (128,), table)

    def _kernel(self, name: str) -> Any:
        return self.module.get_function(name)


def _turns(n: int) -> NDArray[np.float64]:
    angles = 2 * np.pi * np.arange(n) / n
    return np.concatenate([np.cos(angles), np.sin(angles)])
