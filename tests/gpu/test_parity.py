"""The CuPy backend against the reference on random films."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from magray import Film
from magray.micromagnetics import energy_terms, field_terms, gpu_problem
from magray.micromagnetics.reference import Reference
from magray.units import MU0
from tests.support.specimens import co_like

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(gpu_problem()), reason=f"no GPU: {gpu_problem()}")]

GEOMETRIES: list[dict[str, Any]] = [  # few: the kernels are compiled for each
    {"cells": (64, 128)},
    {"cells": (30, 14)},
    {"cells": (20, 48), "open_edges": "x"},
    {"cells": (48, 30), "open_edges": "ellipse"},
]

CONSTANTS = st.fixed_dictionaries(
    {
        "Ms": st.floats(2e5, 1.6e6),
        "Ku1": st.floats(-1e6, 2e6),
        "Aex": st.floats(1e-12, 4e-11),
        "D": st.floats(-2e-3, 2e-3),
        "dmi": st.sampled_from(["bulk", "interfacial"]),
        "sigma": st.floats(0, 0.3),
        "field": st.tuples(*[st.floats(-1e6, 1e6)] * 3),
        "seed": st.integers(0, 2**63 - 1),
    }
)


CELLS = st.tuples(st.floats(2e-9, 5e-9), st.floats(2e-9, 5e-9), st.floats(0.1e-9, 20e-9))


@cache
def batch_like(film: Film) -> Any:
    from magray.micromagnetics.gpu.batch import Batch

    return Batch(film, 8)


@pytest.fixture(params=GEOMETRIES, ids=lambda geometry: f"{geometry['cells']} {geometry.get('open_edges', '')}")
def geometry(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param  # type: ignore[no-any-return]


@given(constants=CONSTANTS, cell_size=CELLS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_force_torque_and_energies_are_the_references(
    geometry: dict[str, Any], constants: dict[str, Any], cell_size: tuple[float, float, float]
) -> None:
    """At the random start: 2e-6 of the largest field, 1e-6 of µ0 Ms² times it."""
    from magray.micromagnetics.gpu.batch import film_record

    film = co_like(**geometry, **constants, cell_size=cell_size)
    batch = batch_like(co_like(**geometry))
    batch.begin({5: film_record(film)})
    with batch.stream:
        batch.field(1)
        force = batch.h[5].get()
        m, sums, torques2 = (array.get() for array in batch.take(5, 1))
    exact = Reference(film).evaluate(m.astype(np.float64))
    largest = max(np.abs(h).max() for h in field_terms(film, m).values()) / film.Ms
    assert np.abs(force - exact.force).max() <= 2e-6 * largest
    assert np.sqrt(torques2.max()) == pytest.approx(exact.torque, abs=2e-6 * largest)
    per_cell = sums.sum(axis=0) / batch.magnetic_cells
    expected = energy_terms(film, m)
    for energy, name in zip(per_cell, ("exchange", "anisotropy", "dmi", "demag", "zeeman"), strict=True):
        assert energy == pytest.approx(expected[name] / (MU0 * film.Ms**2), abs=1e-6 * largest)
