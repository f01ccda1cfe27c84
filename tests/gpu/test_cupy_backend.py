"""The CuPy backend against the reference and the CPU; a film does not depend on the others in its batch."""

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from magray import Demagnetise, Film, Minimize, Protocol, Quench, Random, Sweep, Uniform
from magray.micromagnetics import FilmSolver, RelaxedFilm, energy_terms, field_terms, gpu_problem, relax
from magray.micromagnetics.initial_state import initial_state, ku1_map
from magray.micromagnetics.reference import Reference
from magray.units import MU0
from tests.support.specimens import broken, co_like, walls_per_um

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(gpu_problem()), reason=f"no GPU: {gpu_problem()}")]

FILMS = [
    co_like((64, 64)),
    co_like((96, 40), cell_size=(2e-9, 5e-9, 0.8e-9), D=-1e-3),
    co_like((40, 96), cell_size=(2e-9, 5e-9, 0.8e-9), dmi="interfacial", D=2e-3, field=(1e5, -2e5, 3e5)),
    co_like((256, 256), Ms=2e5, Ku1=0.4e6, Aex=10e-12, D=0.0, dmi="none"),
    co_like((30, 14), seed=2**62 + 5),
    co_like((64, 64), grain_size=20e-9, sigma=0.2, protocol=Protocol(Uniform((1, 2, 3), noise=0.3))),
    co_like((128, 32), open_edges="x", dmi="interfacial"),
    co_like((24, 60), open_edges="y", D=1e-3),
    co_like((48, 40), open_edges="xy", field=(1e5, 0.0, 3e5)),
    co_like((60, 50), open_edges="ellipse", field=(1e5, 0.0, 3e5)),
    co_like((64, 256), demag=False, Ku1=0.4e6),
    co_like((70, 24), cell_size=(2e-9, 1e-9, 4e-9), protocol=Protocol(Random(6e-9))),
]


@pytest.fixture(params=FILMS, ids=lambda film: f"{film.cells[0]}x{film.cells[1]} {film.dmi} {film.open_edges}")
def film(request: pytest.FixtureRequest) -> Film:
    return request.param  # type: ignore[no-any-return]


def batch_with(film: Film, slots: int = 8, slot: int = 3) -> Any:
    """A batch that holds the film in one slot, its start about to be evaluated."""
    from magray.micromagnetics.gpu.batch import Batch, film_record

    batch = Batch(film, slots)
    batch.begin({slot: film_record(film)})
    batch.stream.synchronize()
    return batch


def test_the_gpu_makes_the_same_films_from_the_same_seed(film: Film) -> None:
    """Double precision rounded once: all but a few values to the bit, those to the last one."""
    batch = batch_with(film)
    m, ku1 = batch.m[1][3].get(), batch.ku1[3].get()
    for made, expected in ((m, initial_state(film)), (ku1, ku1_map(film))):
        assert np.mean(made != expected) < 1e-4
        assert np.abs(made - expected).max() < 2.5e-7


def gpu_force(film: Film) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    batch = batch_with(film)
    with batch.stream:
        batch._evaluate(1)
        return batch.m[1][3].get(), batch.h[3].get()


OFF: dict[str, Any] = {"Ku1": 0.0, "Aex": 1e-30, "D": 0.0, "field": (0.0, 0.0, 0.0)}
ALONE = {"exchange": "Aex", "anisotropy": "Ku1", "dmi": "D", "zeeman": "field", "demag": ""}


@pytest.mark.parametrize("term", ALONE)
def test_each_term_is_the_references(film: Film, term: str) -> None:
    """One term and demag at a time, 2e-6 of the largest field."""
    lone = replace(film, **{name: value for name, value in OFF.items() if name != ALONE[term]})
    m, force = gpu_force(lone)
    exact = Reference(lone).evaluate(m.astype(np.float64))
    largest = max(np.abs(h).max() for h in field_terms(lone, m).values()) / lone.Ms
    assert np.abs(force - exact.force).max() <= 2e-6 * largest


def test_a_relaxed_film_has_the_torque_and_energies_it_reports(film: Film) -> None:
    (done,) = relax([film], "cupy")
    assert done.converged, done.reason
    assert done.m is not None
    seen = Reference(film).evaluate(done.m.astype(np.float64))
    largest = max(np.abs(h).max() for h in field_terms(film, done.m).values()) / film.Ms
    assert done.max_torque <= 1e-4
    assert seen.torque == pytest.approx(done.max_torque, abs=2e-6 * largest)
    exact = energy_terms(film, done.m)
    for name, energy in done.energy.items():
        assert energy == pytest.approx(exact[name], abs=1e-6 * MU0 * film.Ms**2 * max(1, largest))
    assert seen.energy < Reference(film).evaluate(initial_state(film).astype(np.float64)).energy


def test_gpu_and_cpu_find_the_same_kind_of_domains() -> None:
    """Rounding sends them to other minima; over eight films walls and energies agree."""
    films = [co_like((256, 256), seed=seed) for seed in range(8)]
    walls, energies = {}, {}
    for backend in ("cpu", "cupy"):
        done = relax(films, backend)
        walls[backend] = np.mean([walls_per_um(d.film, d.m) for d in done if d.m is not None])
        energies[backend] = np.mean([d.energy["total"] for d in done])
    assert walls["cupy"] == pytest.approx(walls["cpu"], rel=0.1)
    assert energies["cupy"] == pytest.approx(energies["cpu"], rel=0.02)


def test_a_film_is_the_same_alone_in_a_crowd_after_a_refill_and_in_a_second_run() -> None:
    """Bit for bit: every sum has a fixed order, every transform a fixed plan."""
    crowd = [co_like((512, 512), seed=seed, D=0.2e-3 + 0.004e-3 * seed) for seed in range(200)]
    first, last = crowd[100], crowd[199]  # 64 slots: both come after others in their slots

    def state(done: RelaxedFilm) -> tuple[bytes, float, int]:
        assert done.m is not None
        return done.m.tobytes(), done.energy["total"], done.evaluations

    solver = FilmSolver("cupy")
    runs = [{done.film: state(done) for done in solver.stream(crowd) if done.film in (first, last)} for _ in range(2)]
    assert runs[0] == runs[1]
    assert state(relax([first], "cupy")[0]) == runs[0][first]
    assert state(relax([last], "cupy")[0]) == runs[0][last]


def quenched(backend: str, stage: Quench, **changes: Any) -> NDArray[np.float32]:
    """Return m of a film that is not a power of two wide, after a quench from a random start."""
    (done,) = relax([co_like((96, 160), protocol=Protocol(stages=(stage,)), **changes)], backend)
    assert done.m is not None
    return done.m


LOW_MS: dict[str, Any] = {"Ms": 4.5e5, "Ku1": 0.4e6, "Aex": 10e-12, "D": 0.0, "dmi": "none"}


@pytest.mark.parametrize(
    "changes", [{}, {"dmi": "interfacial"}, LOW_MS, {"open_edges": "xy"}, {"open_edges": "ellipse"}]
)
@pytest.mark.parametrize("temperature", [0.0, 300.0])
def test_a_quench_takes_the_same_path_as_on_the_cpu(changes: dict[str, Any], temperature: float) -> None:
    """5 ps from a random start in the same stochastic field: rounding alone, made 100 times larger by the start."""
    stage = Quench(alpha=0.5, duration=5e-12, temperature=temperature)
    difference = np.abs(quenched("cupy", stage, **changes) - quenched("cpu", stage, **changes))
    assert np.sqrt(np.mean(difference**2)) < 2e-5
    assert difference.max() < 5e-3


def test_a_quench_reports_the_energy_and_torque_of_where_it_ends() -> None:
    (done,) = relax([co_like((128, 64), protocol=Protocol(stages=(Quench(0.5, 20e-12),)))], "cupy")
    assert done.m is not None
    exact = Reference(done.film).evaluate(done.m.astype(np.float64))
    assert done.energy == pytest.approx(energy_terms(done.film, done.m), rel=1e-5, abs=1e-6 * MU0 * done.film.Ms**2)
    assert done.max_torque == pytest.approx(exact.torque, rel=1e-5)


def test_quenches_and_minimisations_share_a_batch() -> None:
    """Films in different stages of different protocols; each as it is alone, bit for bit."""
    fast, slow = Quench(0.5, 3e-12), Quench(0.5, 40e-12, temperature=50.0)
    protocols = [
        Protocol(stages=stages) for stages in ((Minimize(),), (fast,), (slow, Minimize(1e-3)), (Minimize(1e-2), fast))
    ]
    films = [co_like((128, 128), seed=i, protocol=protocols[i % 4]) for i in range(24)]
    for among in relax(films, "cupy"):
        (alone,) = relax([among.film], "cupy")
        assert among.converged
        assert among.m is not None
        assert alone.m is not None
        assert (among.m == alone.m).all()
        assert (among.energy, among.evaluations) == (alone.energy, alone.evaluations)


@pytest.mark.parametrize("cells", [(64, 128), (96, 40)])
def test_films_of_any_cells_share_a_batch(cells: tuple[int, int]) -> None:
    """More thicknesses and widths of cells than slots that hold them; each film as it is alone, bit for bit."""
    random = np.random.default_rng(0)
    films = [
        co_like(cells, seed=i, cell_size=(x * 1e-9, y * 1e-9, 2**z * 1e-9), Ms=1e6)
        for i, (x, y, z) in enumerate(random.uniform((3, 3, -3), (5, 5, 5), (24, 3)).tolist())
    ]
    solver = FilmSolver("cupy")
    solver.gpu._batch(films[0], 8)
    among = {done.film: done for done in solver.gpu._run(solver.gpu.batches[films[0].shape], deque(films), "")}
    for film in films:
        (alone,) = relax([film], "cupy")
        crowded = among[film].m
        assert alone.m is not None
        assert crowded is not None
        assert (crowded == alone.m).all()
        assert among[film].energy == alone.energy
        exact = energy_terms(film, alone.m)["demag"]
        assert alone.energy["demag"] == pytest.approx(exact, abs=1e-6 * MU0 * film.Ms**2)


def test_films_of_several_sizes_in_one_list() -> None:
    films = [co_like((n, n)) for n in (64, 128, 64, 32, 128)]
    done = relax(films, "cupy")
    assert [d.film for d in done] == films
    assert all(d.converged for d in done)


def test_stages_follow_one_another() -> None:
    film = co_like((128, 128), protocol=Protocol(stages=(Minimize(torque=1e-2), Minimize(torque=1e-4))))
    (done,) = relax([film], "cupy")
    assert done.converged
    assert done.max_torque <= 1e-4


def test_films_that_fail_or_do_not_converge_say_so_and_the_others_go_on() -> None:
    lost = broken(co_like((128, 128)))
    slow = co_like((128, 128), protocol=Protocol(stages=(Minimize(max_evaluations=20),)))
    first, second, third = relax([lost, slow, co_like((128, 128))], "cupy")
    assert (first.status, first.m) == ("failed", None)
    assert second.status == "not_converged"
    assert second.evaluations == 20
    assert second.m is not None
    assert np.isfinite(second.m).all()
    assert third.converged


IN_PLANE, TILTED = Demagnetise(6e5, 5e4, (1, 0, 0.1), ratio=0.6), Demagnetise(4e5, 2e5, (1, 0, 2), steps=2)
LOOP = Sweep((3e5, -5e5), (0, 0, 1))  # far from the fields at which the film switches


@pytest.mark.parametrize("edges", ["none", "ellipse"])
@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_films_go_through_the_fields_of_their_stages_as_in_the_reference(backend: str, edges: Any) -> None:
    """Small and far from any switching field, so that rounding does not decide where a film goes."""
    films = [
        co_like((30, 14), open_edges=edges, seed=seed, protocol=Protocol(Uniform((0, 0, 1)), stages))
        for seed, stages in enumerate(((TILTED, LOOP), (LOOP,), (TILTED,), (LOOP, Minimize())))
    ]
    for done, expected in zip(relax(films, "cupy"), relax(films, backend), strict=True):
        assert done.status == expected.status == "converged", done.reason
        assert done.m is not None
        assert expected.m is not None
        assert np.abs(done.m - expected.m).max() < 5e-3
        assert done.energy["total"] == pytest.approx(expected.energy["total"], rel=1e-4)
        assert [point.field for point in done.loop] == [point.field for point in expected.loop]
        for point, other in zip(done.loop, expected.loop, strict=True):
            assert point.m == pytest.approx(other.m, abs=1e-3)


def test_films_of_many_domains_are_demagnetised_to_the_energy_that_the_cpu_finds() -> None:
    """Rounding chooses among many minima where domains form: over the seeds, the mean energy agrees to 5 %."""
    films = [
        co_like((64, 64), seed=seed, protocol=Protocol(Uniform((0, 0, 1)), (IN_PLANE, Minimize()))) for seed in range(8)
    ]
    energies = [[film.energy["total"] for film in relax(films, backend)] for backend in ("cupy", "cpu")]
    assert np.mean(energies[0]) == pytest.approx(np.mean(energies[1]), rel=0.05)


def test_a_swept_film_is_the_same_in_any_company() -> None:
    """To the bit, whatever stage the other slots are at."""
    protocols = [Protocol(Uniform((0, 0, 1)), stages) for stages in ((LOOP,), (IN_PLANE,), (Minimize(),), (LOOP,))]
    films = [co_like((64, 64), seed=seed, protocol=protocol) for seed, protocol in enumerate(protocols)]
    together, (alone,) = relax(films, "cupy"), relax(films[:1], "cupy")
    assert together[0].loop == alone.loop
    np.testing.assert_array_equal(together[0].m, alone.m)
