"""Tests of stores have no rival drivers, but for those of test_lease.py in tests/cluster."""

import pytest

from magray.store import lease


@pytest.fixture(autouse=True)
def _no_contest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for drivers that begin at the same time."""
    monkeypatch.setattr(lease, "CONTEST", 0.0)
