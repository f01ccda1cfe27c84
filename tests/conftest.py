"""What many tests share: one real Ray cluster for the session."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local Ray cluster of two cores, started once."""
    import ray

    from magray.campaign import connect

    connect(num_cpus=2)
    yield
    ray.shutdown()
