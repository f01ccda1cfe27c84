"""Each term of the reference against the same term of magnum.np (Bruckner et al., Sci. Rep. 13, 12054, 2023).

An independent code. `pip install -e '.[dev,peers]'` brings it; without it these tests are skipped.

Both codes compute in double precision here. They have the same stencils, so that what is left is µ0, which magnum.np
rounds to eleven digits (3e-11): 1e-9 of the largest field, a hundredth of what single precision would leave.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from magray.films import Film
from magray.micromagnetics.cpu import CpuBackend
from magray.micromagnetics.demag_tensor import newell_tensor
from magray.micromagnetics.terms import TERMS
from magray.units import MU0
from tests.support.specimens import co_like, directions

Vectors = NDArray[np.float64]

SQUARE, OBLONG = (4e-9, 4e-9, 1e-9), (4e-9, 3e-9, 1e-9)
# Across periodic edges along y, magnum.np 2.2 divides a DMI by (dx + dy) / 2 in place of dy: square cells there.
EDGES = [("none", SQUARE), ("x", SQUARE), ("xy", OBLONG)]
CLOSED_FORM = 1000  # cells: dipoles begin beyond them; in magnum.np 2.2 these forget the images of the cell itself
LOCAL = [("exchange", 0.0), ("anisotropy", 0.0), ("zeeman", 0.0)]
TWISTS = [(dmi, D) for dmi in ("bulk", "interfacial") for D in (0.5e-3, -0.5e-3)]


@pytest.fixture(scope="module")
def magnum() -> Iterator[Any]:
    """magnum.np on the CPU, uncompiled. Its import changes torch's defaults; they are put back afterwards."""
    torch = pytest.importorskip("torch")
    dtype = torch.get_default_dtype()
    with pytest.MonkeyPatch.context() as patch, torch.compiler.set_stance("force_eager"):
        patch.setenv("CUDA_DEVICE", "-1")
        yield pytest.importorskip("magnumnp", reason="magnum.np is not installed: pip install -e '.[dev,peers]'")
    torch.set_default_dtype(dtype)
    torch.set_default_device(None)


def smooth(film: Film) -> Vectors:
    """Unit vectors in long waves along x and y that fit the film."""
    nx, ny = film.cells
    x, y = 2 * np.pi * np.arange(nx) / nx, 2 * np.pi * np.arange(ny)[:, None] / ny
    azimuth, polar = np.sin(x) + 2 * np.cos(y), np.pi / 2 + 1.3 * np.sin(x + y)
    return np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)])


def theirs(magnum: Any, film: Film, m: Vectors, term: Any, copies: int = 1) -> tuple[Vectors, float]:
    """magnum.np's field, A/m, (3, ny, nx), and energy, J/m³ averaged over the film.

    Periodic edges repeat the film `copies` times to either side.
    """
    import torch

    periodic = [0 if axis in film.open_edges else copies for axis in "xy"]
    state = magnum.State(magnum.Mesh((*film.cells, 1), film.cell_size, pbc=(*periodic, 0)))
    state.material = {
        "Ms": film.Ms,
        "A": film.Aex,
        "Ku": torch.tensor(film.Ku1 * CpuBackend(film).ku1.T.astype(np.float64)[:, :, None, None]),
        "Ku_axis": [0.0, 0.0, 1.0],
        "Di": film.D,
        "Db": -film.D,  # its bulk field is +2 D / (µ0 Ms) ∇ × m, the opposite of its docstring and of ours
    }
    state.m = torch.tensor(np.ascontiguousarray(m.T[:, :, None]))
    return term.h(state)[:, :, 0].numpy().T, float(term.E(state)) / state.mesh.volume


def agree(film: Film, term: str, m: Vectors, h: Vectors, energy: float, tolerance: float) -> None:
    """Our field within `tolerance` of the largest field, our energy within as much of µ0 Ms times that field."""
    ours = TERMS[term].field(film, m)
    largest = np.abs(ours).max()
    assert largest > 0
    assert np.abs(ours - h).max() <= tolerance * largest
    assert TERMS[term].energy_density(film, m) == pytest.approx(energy, abs=tolerance * MU0 * film.Ms * largest)


@pytest.mark.parametrize(("open_edges", "cell_size"), EDGES)
@pytest.mark.parametrize("state", [directions, smooth])
@pytest.mark.parametrize(("kind", "D"), LOCAL + TWISTS)
def test_a_local_term_has_the_field_and_energy_of_magnum_np(
    magnum: Any, kind: str, D: float, state: Any, open_edges: str, cell_size: tuple[float, float, float]
) -> None:
    """One stencil, two codes, both in double precision: 1e-9, of which magnum.np's rounded µ0 takes 3e-11."""
    film = co_like(
        cells=(24, 10),
        cell_size=cell_size,
        open_edges=open_edges,
        dmi=kind if D else "none",
        D=D,
        field=(1e5, -2e5, 3e5),
    )
    term = {
        "exchange": magnum.ExchangeField,
        "anisotropy": magnum.UniaxialAnisotropyField,
        "bulk": magnum.BulkDMIField,
        "interfacial": magnum.InterfaceDMIField,
        "zeeman": lambda: magnum.ExternalField(list(film.field)),
    }[kind]()
    m = state(film)
    agree(film, "dmi" if D else kind, m, *theirs(magnum, film, m, term), tolerance=1e-9)


@pytest.mark.parametrize("cell_size", [OBLONG, (4e-9, 4e-9, 4e-9)])
def test_one_magnetised_cell_has_the_stray_field_of_magnum_np(
    magnum: Any, cell_size: tuple[float, float, float]
) -> None:
    """Newell's closed form, written twice: 1e-9 of the cell's own field is what its differences lose at 20 cells."""
    film = co_like(cells=(20, 12), cell_size=cell_size, open_edges="xy")
    nxx, nyy, nzz, nxy = newell_tensor(20, 12, cell_size)
    zero = np.zeros_like(nxy)
    tensor = np.array([[nxx, nxy, zero], [nxy, nyy, zero], [zero, zero, nzz]])
    term = magnum.DemagField(p=CLOSED_FORM)
    for component in range(3):
        m = np.zeros((3, 12, 20))
        m[component, 0, 0] = 1
        h, _ = theirs(magnum, film, m, term)
        assert np.abs(h + film.Ms * tensor[component]).max() <= 1e-9 * np.abs(h).max()


@pytest.mark.parametrize("state", [directions, smooth])
def test_a_film_that_ends_has_the_demagnetising_field_and_energy_of_magnum_np(magnum: Any, state: Any) -> None:
    """magnum.np in closed form at all distances; ours is an expansion beyond 16 cells: 1e-8 of the largest field."""
    film = co_like(cells=(48, 20), cell_size=OBLONG, open_edges="xy")
    m = state(film)
    agree(film, "demag", m, *theirs(magnum, film, m, magnum.DemagField(p=CLOSED_FORM)), tolerance=1e-8)


def test_copies_of_the_film_approach_the_infinite_film_as_their_tail_predicts(magnum: Any) -> None:
    """magnum.np adds n copies to either side; what lies beyond R = (n + ½) L is missing there, and here it is not.

    From so far the film looks uniform: ∫ 1/r³ over the plane outside a square is 4√2 / R, which makes
    hz = −(√2/π) (t/R) Ms ⟨mz⟩ and half of it with the other sign in the plane. That is 99 % of the difference already
    for one copy, and the rest is of the next order, (L/R)² of the tail.
    """
    film = co_like(cells=(16, 16))
    m = directions(film) + np.array([0.4, -0.2, 0.3])[:, None, None]  # no unit vectors, but all is linear in m
    ours = TERMS["demag"].field(film, m)
    left = []
    for copies in (1, 3):
        h, _ = theirs(magnum, film, m, magnum.DemagField(p=CLOSED_FORM), copies)
        R, t = (copies + 0.5) * 16 * film.cell_size[0], film.cell_size[2]
        tail = np.sqrt(2) / np.pi * t / R * film.Ms * m.mean(axis=(1, 2)) * np.array([0.5, 0.5, -1])
        left.append(np.abs(ours - h - tail[:, None, None]).max() / np.abs(tail).max())
    assert left[0] < 0.02
    assert left[1] / left[0] == pytest.approx((1.5 / 3.5) ** 2, rel=0.1)
