"""Domains of Co-like films, relaxed from random starts as in a campaign."""

import numpy as np
import pytest

from magray.micromagnetics import relax
from tests.support.specimens import BACKENDS, co_like, walls_per_um

pytestmark = pytest.mark.parametrize("backend", BACKENDS)


def test_stripes_narrow_as_dmi_lowers_the_wall_energy(backend: str) -> None:
    """σ_w = 4√(A Keff) − π|D| falls with D, so that a film has more walls; means over films."""
    density = []
    for D in (0.1e-3, 0.5e-3, 1.0e-3) if backend == "cupy" else (0.1e-3, 1.0e-3):
        films = [co_like((256, 256), D=D, sigma=0.05, seed=seed) for seed in range(4 if backend == "cupy" else 2)]
        density.append(
            np.mean([walls_per_um(done.film, done.m) for done in relax(films, backend) if done.m is not None])
        )
    assert density == sorted(density)
    assert density[-1] > 1.1 * density[0]


def test_co_like_films_relax_from_every_random_start(backend: str) -> None:
    """Relax films of 256² cells over the whole range of D and σ to 1e-4 Ms; each has domains of both signs."""
    random = np.random.default_rng(1)
    films = [
        co_like((256, 256), D=random.uniform(0.1e-3, 1e-3), sigma=random.uniform(0.05, 0.2), seed=seed)
        for seed in range(32 if backend == "cupy" else 8)
    ]
    for done in relax(films, backend):
        assert done.m is not None
        assert done.converged, done.reason
        assert done.max_torque <= 1e-4
        assert done.energy["total"] < 0
        assert abs(done.m[2].mean()) < 0.3
