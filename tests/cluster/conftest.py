"""Fixtures for tests on a real Ray cluster: one cluster for the session, and no actors left from another test."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Start a local Ray cluster of two cores, once."""
    import ray

    from magray.runtime.connect import connect

    connect(num_cpus=2)
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def _cores_are_free() -> None:
    """Free the actors of a failed pipeline: tracebacks in pytest's log records keep them alive, on their cores."""
    gc.collect()
