"""The CUDA kernels' arithmetic, indices and barriers, by tests/support/emulation on any machine with g++."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import magray.micromagnetics.gpu
from magray import Demagnetise, Film, Minimize, Protocol, Quench, Random, Sweep, Uniform, UserError
from magray.cuda import compile_module
from magray.micromagnetics import llg
from magray.micromagnetics.cpu import CpuBackend
from magray.micromagnetics.demag_tensor import padded_cells, waves_quarter
from magray.micromagnetics.initial_state import initial_state, ku1_map, tilted_again
from magray.micromagnetics.reference import Reference
from magray.micromagnetics.terms import field_terms
from tests.support.emulation.cupy_stand_in import cupy_on_cpu
from tests.support.emulation.emulator import COMPILER
from tests.support.specimens import co_like

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ on this machine")

SLOTS, SLOT = 2, 1  # the film's; the other is idle, or has the same film
SHORT = [(64, 1024), (128, 512), (256, 256), (512, 128), (1024, 64)]
ANY = (30, 14)
TILTED = Protocol(Uniform((1, 2, 3), noise=0.3))
IN_SQUARES = Protocol(Random(8e-9))
SLOT_HEAD = np.dtype(
    [
        ("energies", np.float64, 10),
        *((name, np.int32) for name in ("accepted", "fresh", "skip")),
        ("limit", np.float32),
        *((name, np.int32) for name in ("count", "head")),
        ("order", np.int32, 4),
    ]
)


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with cupy_on_cpu(tmp_path_factory.mktemp("kernels")):
        from magray.micromagnetics.gpu import batch, fourier

        batch.fourier = fourier  # type: ignore[attr-defined]
        yield batch


class Slots:
    """A batch's arrays, kernels and transforms, without its graphs: two slots, one of which has the film."""

    def __init__(self, gpu: Any, film: Film) -> None:
        folder = Path(magray.micromagnetics.gpu.__file__).parent
        names = ("film.cu", "tensor.cu", "minimizer.cu", *gpu.fourier.sources(film))
        code = "".join((folder / name).read_text(encoding="utf-8") for name in names)
        self.module = compile_module(code, gpu.macros(film))
        self.film, (self.nx, self.ny) = film, film.cells
        self.films, self.reports = np.zeros(SLOTS, gpu.FILM), np.zeros(SLOTS, gpu.REPORT)
        self.films[SLOT] = gpu.film_record(film)
        self.m, self.other, self.h, self.w = (np.zeros((SLOTS, 3, self.ny, self.nx), np.float32) for _ in range(4))
        self.rings = [np.zeros((5, SLOTS, 3 * self.ny * self.nx // 2), np.uint32) for _ in range(2)]
        self.ku1 = np.ones((SLOTS, self.ny, self.nx), np.float32)
        self.rows = gpu.ROWS
        self.blocks = -(-self.ny // self.rows)
        self.sums, self.torques = (
            np.zeros((SLOTS, self.blocks, gpu.FORCE_SUMS)),
            np.zeros((SLOTS, self.blocks), np.float32),
        )
        sizes = gpu.cp.zeros(3, np.int32)
        self.kernel("struct_sizes", (1,), 1, sizes)
        self.slots = np.zeros((SLOTS, sizes[2]), np.uint8)
        self.transforms = gpu.fourier.transforms(self.module, film, SLOTS)
        kind = gpu.kind_of(self.films[SLOT])
        other = (kind[0] / 2, *kind[1:])  # so that the film's tensor is not the first in the table
        self.films["tensor"] = list(self.transforms.tensors.assign({0: other, SLOT: kind}).values())

    def kernel(self, name: str, grid: tuple[int, ...], threads: int, *arguments: Any) -> None:
        self.module.get_function(name)(grid, (threads,), arguments)

    def begin(self, slot: int = SLOT) -> None:
        self.films[slot] = self.films[SLOT]
        listed, sizes = np.array([slot], np.int32), (np.int32(self.ny), np.int32(self.nx))
        arrays = (self.films, self.slots, self.reports, listed, self.m, self.other, self.ku1)
        self.kernel("begin", (3, 1), 256, *arrays, *sizes)

    @property
    def state(self) -> NDArray[np.void]:
        """The first of what a slot holds."""
        return self.slots[:, : SLOT_HEAD.itemsize].view(SLOT_HEAD)

    def remember(self) -> list[NDArray[np.float32]]:
        """Random steps and changes, in all slots alike, in the order of the force's products."""
        vectors = np.random.default_rng(1).normal(size=(11, 3, self.ny, self.nx)).astype(np.float32)
        vectors.view(np.uint32)[...] &= 0xFFFF0000  # what bfloat16 can hold
        words = vectors.view(np.uint32).reshape(11, 1, -1)
        packed = words[..., 1::2] | words[..., ::2] >> 16
        self.rings[0][:], self.rings[1][:] = packed[:5], packed[5:10]
        self.w[:] = vectors[10]
        order = (3, 0, 4, 1)
        return [vectors[2], vectors[10], *(vectors[i] for i in order), *(vectors[5 + i] for i in order)]

    def force(self) -> None:
        """As Batch.field: into h, sums and torques."""
        arrays = (self.m, self.h, self.ku1, self.w, *self.rings, self.films, self.slots, self.reports)
        sizes = (np.int32(n) for n in (SLOTS, self.ny, self.nx, self.rows))
        arguments = (*arrays, self.sums, self.torques, *sizes)
        if self.transforms.fused:
            self.transforms.force(self.m, self.films, self.reports, arguments, self.blocks)
        else:
            self.transforms.demag(self.m, self.h, self.films, self.reports, 1)
            self.kernel("force", (self.blocks, SLOTS), min(256, 32 * -(-self.nx // 64)), *arguments)


@pytest.mark.parametrize(
    ("cells", "edges"), [*((cells, "none") for cells in (*SHORT, ANY)), (ANY, "x"), ((64, 20), "xy")], ids=str
)
def test_the_transforms_are_numpys(gpu: Any, cells: tuple[int, int], edges: Any) -> None:
    """Demag and preconditioner to single precision, 1e-6 of the largest value; an idle slot is left alone."""
    film = co_like(cells, D=0.0, dmi="none", open_edges=edges)
    slots = Slots(gpu, film)
    slots.m[:] = vectors = np.random.default_rng(0).normal(size=slots.m.shape)
    slots.reports["mode"][SLOT] = 1
    slots.transforms.demag(slots.m, slots.h, slots.films, slots.reports, 1)
    expected = field_terms(film, vectors[SLOT])["demag"] / film.Ms
    assert np.abs(slots.h[SLOT] - expected).max() <= 1e-6 * np.abs(expected).max()
    w = np.zeros_like(slots.m)
    slots.transforms.precondition(slots.m, w, slots.films, slots.reports)
    expected = Reference(film).precondition(vectors[SLOT])
    assert np.abs(w[SLOT] - expected).max() <= 1e-6 * np.abs(expected).max()
    assert np.sum(slots.transforms.powers[SLOT]) == pytest.approx(np.vdot(vectors[SLOT], expected), rel=1e-6)
    if slots.transforms.fused:
        assert not slots.h[0].any()
        assert not w[0].any()


def any_cells(count: int, seed: int) -> list[tuple[float, float, float]]:
    """Return random cells: dy/dx from 0.5 to 2, thickness/dx from 0.02 to 10."""
    random = np.random.default_rng(seed)
    return [
        (4e-9, 4e-9 * float(y), 4e-9 * float(z))
        for y, z in zip(2 ** random.uniform(-1, 1, count), np.geomspace(0.02, 10, count), strict=True)
    ]


@pytest.mark.parametrize("edges", ["none", "x", "y", "xy"])
def test_the_device_makes_the_tensors_of_any_cells(gpu: Any, edges: Any) -> None:
    """Those of demag_tensor.py to single precision, each in a place of its own; none without a demagnetising field."""
    films = [co_like((20, 14), cell_size=cell, open_edges=edges) for cell in any_cells(4, seed=len(edges))]
    films.append(co_like((20, 14), open_edges=edges, demag=False))
    cells = padded_cells(films[0].cells, films[0].open_axes)
    tensors = gpu.fourier.Tensors(gpu.kernels(films[0]), films[0], len(films), stride=cells[0] // 2 + 3)
    places = tensors.assign({slot: gpu.kind_of(gpu.film_record(film)) for slot, film in enumerate(films)})
    assert sorted(places.values()) == list(range(len(films)))
    for slot, film in enumerate(films):
        expected = waves_quarter(film.cells, film.cell_size, film.open_axes) * film.demag / (cells[0] * cells[1])
        made = tensors.table[places[slot]]
        assert np.abs(made[..., :-2] - expected).max() <= 1e-7 / (cells[0] * cells[1])
        assert not made[..., -2:].any()


def test_slots_with_cells_alike_share_a_tensor_which_stays_while_one_of_them_has_it(gpu: Any) -> None:
    """Three slots: a fourth kind of cells takes the place of the one that was wanted the longest ago."""
    tensors = gpu.fourier.Tensors(gpu.kernels(co_like((8, 8))), co_like((8, 8)), 3, stride=5)
    a, b, c, d = ((x, 1.0, 0.5, 1.0) for x in (0.25, 0.5, 0.75, 1.0))
    assert tensors.assign({0: a, 1: a, 2: b}) == {0: 0, 1: 0, 2: 1}
    assert tensors.assign({2: c}) == {2: 2}
    before = tensors.table.copy()
    assert tensors.assign({1: d}) == {1: 1}
    assert tensors.assign({2: a}) == {2: 0}
    assert (tensors.table[[0, 2]] == before[[0, 2]]).all()
    assert (tensors.table[1] != before[1]).any()


@pytest.mark.parametrize("cells", [(16, 24), (64, 64)], ids=str)
def test_a_film_is_the_same_beside_films_of_other_cells(gpu: Any, cells: tuple[int, int]) -> None:
    """Bit for bit, by whole transforms and by short ones: in another slot, with its tensor in another place."""
    thick, thin = (co_like(cells, cell_size=cell) for cell in ((4e-9, 3e-9, 20e-9), (2e-9, 2e-9, 0.5e-9)))
    ends = []
    for others in ({}, {0: gpu.film_record(thick)}):
        batch, slot = gpu.Batch(thin, SLOTS), len(others)
        batch.begin(others)
        batch.begin({slot: gpu.film_record(thin)})
        batch.launch(gpu.RUNNING)
        report = batch.reports_now()[slot]
        m, sums, _ = batch.take(slot, int(report["buffer"]))
        ends.append((m.tobytes(), sums.tobytes(), float(report["energy"])))
        exact = Reference(thin).evaluate(m.astype(np.float64))
        assert exact.energy == pytest.approx(report["energy"], abs=1e-6)
        assert exact.energy == pytest.approx(sums.sum() / (cells[0] * cells[1]), abs=1e-6)
    assert ends[0] == ends[1]


@pytest.mark.parametrize("cells", [(64, 1024), (512, 128), (1024, 64), (30, 14)], ids=str)
def test_the_force_is_the_references_and_its_products_are_numpys(gpu: Any, cells: tuple[int, int]) -> None:
    """And a film's are the same to the bit in another slot."""
    dmi: Any = "bulk" if cells[1] < 128 else "interfacial"
    film = co_like(cells, cell_size=(2e-9, 5e-9, 0.8e-9), dmi=dmi, D=2e-3, field=(1e5, -2e5, 3e5))
    slots = Slots(gpu, film)
    vectors = slots.remember()
    for slot in range(SLOTS):
        slots.begin(slot)
        slots.state["fresh"], slots.state["count"], slots.state["head"], slots.state["order"] = 0, 4, 2, (3, 0, 4, 1)
    slots.force()
    exact = Reference(film).evaluate(slots.m[SLOT].astype(np.float64))
    assert np.abs(slots.h[SLOT] - exact.force).max() <= 2e-6 * np.abs(exact.force).max()
    sums = slots.sums[SLOT].sum(axis=0)
    assert sums[0] / (cells[0] * cells[1]) == pytest.approx(exact.energy, rel=1e-5)
    assert np.sqrt(slots.torques[SLOT].max()) == pytest.approx(exact.torque, rel=1e-5)
    expected = [np.vdot(v, slots.h[SLOT].astype(np.float64)) for v in vectors]
    assert sums[1:] == pytest.approx(
        expected, abs=1e-5 * float(np.linalg.norm(vectors[0]) * np.linalg.norm(exact.force))
    )
    for made in (slots.h, slots.sums, slots.torques):
        assert made[0].tobytes() == made[1].tobytes()


@pytest.mark.parametrize(
    "changes", [{"sigma": 0.0}, {}, {"grain_size": 20e-9}, {"protocol": TILTED}, {"protocol": IN_SQUARES}], ids=str
)
def test_a_film_begins_as_its_seed_says(gpu: Any, changes: dict[str, Any]) -> None:
    film = co_like((30, 14), seed=2**62 + 5, **changes)
    slots = Slots(gpu, film)
    slots.begin()
    np.testing.assert_allclose(slots.m[SLOT], initial_state(film), atol=2e-7)
    np.testing.assert_allclose(slots.ku1[SLOT], ku1_map(film), atol=2e-7)


def test_a_stage_begins_where_the_one_before_it_ended(gpu: Any) -> None:
    """In either of the two m that a slot has; its map of Ku1 stays."""
    slots = Slots(gpu, co_like(ANY))
    slots.begin()
    ku1, ended = slots.ku1.copy(), np.random.default_rng(0).normal(size=slots.m.shape).astype(np.float32)
    for initial, m in ((gpu.AS_IT_IS, slots.m), (gpu.AS_THE_OTHER_IS, slots.other)):
        slots.m[:] = slots.other[:] = 0
        m[:] = ended
        slots.films["initial"] = initial
        slots.begin()
        assert (slots.m[SLOT] == ended[SLOT]).all()
        assert (slots.ku1 == ku1).all()


def test_a_machine_without_a_compiler_is_told_what_to_install(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoCompiler:
        def __init__(self, **_: Any) -> None:
            pass

        def compile(self) -> None:
            raise ImportError("libnvrtc.so.13: cannot open shared object file\nmore of it")

    monkeypatch.setattr(gpu.cp, "RawModule", NoCompiler)
    with pytest.raises(UserError, match=r"cannot be compiled: libnvrtc\.so\.13: .* file; install CuPy with its own"):
        gpu.kernels(co_like((32, 32)))


THICK: dict[str, Any] = {"cell_size": (4e-9, 4e-9, 22e-9), "Ms": 1e6, "Ku1": 0.671e6, "Aex": 4.2e-12, "D": 0.21e-3}


@pytest.mark.parametrize(
    ("cells", "changes"), [((32, 32), {}), ((64, 64), {}), ((32, 32), THICK)], ids=["32", "64", "thick"]
)
def test_a_batch_relaxes_a_film(gpu: Any, cells: tuple[int, int], changes: dict[str, Any]) -> None:
    """All kernels of the minimiser in turn: what the film reports of itself is the reference's.

    The thick film is one that goes round in circles unless its preconditioner is scaled.
    """
    film = co_like(cells, **changes)
    batch = gpu.Batch(film, SLOTS)
    batch.begin({SLOT: gpu.film_record(film)})
    while batch.reports_now()[SLOT]["mode"] == gpu.RUNNING and batch.reports_now()[SLOT]["evaluations"] < 400:
        batch.launch(gpu.RUNNING)
    report = batch.reports_now()[SLOT]
    m, sums, _ = batch.take(SLOT, int(report["buffer"]))
    exact = Reference(film).evaluate(m.astype(np.float64))
    assert report["mode"] == gpu.CONVERGED
    assert exact.torque <= 1.01e-4
    assert exact.torque == pytest.approx(report["torque"], abs=1e-6)
    assert exact.energy == pytest.approx(report["energy"], abs=1e-6)
    assert exact.energy == pytest.approx(sums.sum() / (cells[0] * cells[1]), abs=1e-6)
    assert exact.energy < Reference(film).evaluate(initial_state(film).astype(np.float64)).energy


@pytest.mark.parametrize("temperature", [0.0, 300.0])
@pytest.mark.parametrize("cells", [ANY, (64, 64)], ids=str)
def test_a_batch_quenches_a_film(
    gpu: Any, cells: tuple[int, int], temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of the CPU backend, by a short ramp and long steps of three; rounding grows from the random start."""
    monkeypatch.setattr(llg, "RAMP", 4)
    monkeypatch.setattr(llg, "SINGLE", 1)
    stage = Quench(alpha=0.5, duration=4e-12, temperature=temperature)
    film = co_like(cells, dmi="interfacial", protocol=Protocol(stages=(Minimize(max_evaluations=1), stage)))
    parts = llg.Steps.of(film, stage).parts
    batch = gpu.Batch(film, SLOTS)
    first = gpu.film_record(film, 1)
    first["initial"] = gpu.RANDOM
    batch.begin({SLOT: first})
    while (report := batch.reports_now()[SLOT])["mode"] == gpu.QUENCHING:
        batch.launch(gpu.QUENCHING, parts)
    m, _, torques2 = batch.take(SLOT, int(report["buffer"]))
    backend = CpuBackend(film)
    expected, outer_steps = llg.quench(backend, initial_state(film), film, stage, number=1)
    assert parts > 1
    assert report["evaluations"] == outer_steps
    assert np.abs(m - expected).max() < 1e-3
    assert np.sqrt(torques2.max()) == pytest.approx(backend.evaluate(expected).torque, rel=1e-3)


STAGED: dict[str, Any] = {"cells": ANY, "open_edges": "ellipse"}  # of one build
FIELDS = (Demagnetise(4e5, 2e5, (1, 0, 2), steps=2), Sweep((3e5, -5e5), (0, 0, 1)))


def test_a_field_begins_with_the_tilt_that_the_seed_says(gpu: Any) -> None:
    """In either of the two m, inside of the film only."""
    film = co_like(**STAGED, protocol=Protocol(stages=(Minimize(), FIELDS[0])))
    slots, m = Slots(gpu, film), initial_state(film)
    for initial, held in ((gpu.AS_IT_IS, slots.m), (gpu.AS_THE_OTHER_IS, slots.other)):
        slots.films[SLOT] = gpu.film_record(film, 2)
        slots.films["initial"] = initial
        held[SLOT] = m
        slots.begin()
        np.testing.assert_allclose(slots.m[SLOT], tilted_again(film, m, 0.01, (1, 1)), atol=2e-7)
        assert np.abs(slots.m[SLOT] - m).max() > 0.01
