"""One round of the faults of a whole cluster; `make soak` plays all others, too."""

import shutil
from collections.abc import Iterator

import pytest

from tests.chaos.cluster import ChaosCluster, chaos_cluster
from tests.chaos.faults import FAULTS, play

# Each takes a minute or more. What these do to a single write or request is tested where that is made: a full disk in
# tests/store, a busy or silent server in test_object_storage.py, a second driver in test_lease.py. "all of them" has
# the second line.
FOR_SOAK = {
    *("S3 in moods", "S3 500", "S3 SlowDown", "S3 silent", "disk full", "two drivers"),
    *("actor killed", "commit killed", "node killed", "driver killed", "server killed"),
}

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="a C compiler makes the full disk and wrong clock")


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChaosCluster]:
    with chaos_cluster(tmp_path_factory.mktemp("chaos")) as chaos:
        yield chaos


@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in FOR_SOAK])
def test_each_film_is_there_once_and_the_same_as_without_the_fault(chaos: ChaosCluster, fault: str) -> None:
    """Committed films are not simulated again, and their files stay as they are."""
    outcome = play(chaos, fault, seed=0)
    assert outcome.wrong == [], outcome.said
