"""One round of each misfortune; `python -m benchmarks.survival` plays more of them, at other moments."""

import shutil
from collections.abc import Iterator

import pytest

from tests.chaos.cluster import House, house
from tests.chaos.faults import MISFORTUNES, play

A_MINUTE_EACH = {"S3 500", "S3 SlowDown", "S3 silent"}  # for the benchmark; "S3 in moods" has all three

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="a C compiler makes the full disk and wrong clock")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("survival")) as home:
        yield home


@pytest.mark.parametrize("misfortune", [name for name in MISFORTUNES if name not in A_MINUTE_EACH])
def test_each_film_is_there_once_and_as_if_nothing_had_happened(home: House, misfortune: str) -> None:
    """Committed films are not simulated again, and their files stay as they are."""
    outcome = play(home, misfortune, seed=0)
    assert outcome.wrong == [], outcome.said
