"""What the tests on a real Ray cluster share: one for the session, and no actors left over from another test."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local Ray cluster of two cores, started once."""
    import ray

    from magray.runtime.connect import connect

    connect(num_cpus=2)
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def _cores_are_free() -> None:
    """pytest keeps what was logged in a test, with tracebacks that keep a failed pipeline's actors on their cores."""
    gc.collect()
