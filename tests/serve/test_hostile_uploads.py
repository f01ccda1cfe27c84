"""Hostile uploads end in a sentence: no error of the server, no leak, no file. `make fuzz` sends 10,000 of them."""

from pathlib import Path

import pytest

from tests.support.http_service import needs_serve, served

pytestmark = needs_serve


def test_a_hundred_hostile_uploads_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.fuzz.uploads import faults

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # of the processes that simulate
    with served() as url:
        assert list(faults(url, seed=1, count=100)) == []
    assert list(tmp_path.iterdir()) == []
