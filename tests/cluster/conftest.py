"""Fixtures for tests on a real Ray cluster: one cluster for the session, and no actors left from another test."""

import gc
from collections.abc import Iterator

import pytest

LONGEST = ("search", "chaos", "jobs", "object_storage", "paper", "fit", "campaign")  # files, which begin first


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process is left with one of them while the others are done."""
    place = {f"test_{name}": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)) if item.path.parent.name == "cluster" else -1)


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
