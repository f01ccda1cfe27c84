"""Domains of Co-like films, relaxed from random starts as in a campaign."""

from functools import cache

import numpy as np
import pytest

from magray.films import Film
from magray.micromagnetics import RelaxedFilm, relax
from tests.support.specimens import BACKENDS, co_like, walls_per_um

pytestmark = pytest.mark.parametrize("backend", BACKENDS)

ENDS = (0.1e-3, 1.0e-3)  # of the paper's range of D, J/m²


def of_256_cells(D: float, seed: int) -> Film:
    return co_like((256, 256), D=D, sigma=np.random.default_rng(seed).uniform(0.05, 0.2), seed=seed)


@cache
def relaxed(backend: str) -> list[RelaxedFilm]:
    """Films of random σ, half of them at each D."""
    seeds = range(16 if backend == "cupy" else 3)
    return relax([of_256_cells(D, seed) for D in ENDS for seed in seeds], backend)


def test_stripes_narrow_as_dmi_lowers_the_wall_energy(backend: str) -> None:
    """σ_w = 4√(A Keff) − π|D| falls with D, so that a film has more walls; means over films."""
    walls: dict[float, list[float]] = {D: [] for D in ENDS}
    for done in relaxed(backend):
        assert done.m is not None
        walls[done.film.D].append(walls_per_um(done.film, done.m))
    assert np.mean(walls[1.0e-3]) > 1.1 * np.mean(walls[0.1e-3])


def test_co_like_films_relax_from_every_random_start(backend: str) -> None:
    """Each film is within 1e-4 Ms of equilibrium and has domains of both signs."""
    for done in relaxed(backend):
        assert done.m is not None
        assert done.converged, done.reason
        assert done.max_torque <= 1e-4
        assert done.energy["total"] < 0
        assert abs(done.m[2].mean()) < 0.3
