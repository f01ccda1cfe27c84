"""A campaign counts its films. The export to Prometheus needs `ray[default]`; tests/cluster/test_jobs.py tests it."""

from collections import Counter
from typing import Any

import pytest

from magray.campaign import metrics
from magray.films import Minimize, Protocol, plan_table
from magray.micromagnetics import relax
from magray.store import rows_of
from tests.support.specimens import broken, co_like


def test_committed_films_are_counted_by_campaign_and_status(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: Counter[tuple[str, str]] = Counter()

    class Recorder:
        def __init__(self, name: str) -> None:
            self.name = name

        def inc(self, value: float, tags: dict[str, Any]) -> None:
            assert tags["campaign"] == "counted"
            counted[self.name, tags.get("status", "")] += value  # type: ignore[assignment]

    monkeypatch.setattr(metrics, "_counter", Recorder)
    quick = Protocol(stages=(Minimize(max_evaluations=3),))
    films = [co_like((16, 16), seed=1, protocol=quick), co_like((16, 16)), broken(co_like((16, 16)))]
    done = relax(films)
    metrics.count(rows_of(done, plan_table(films, "counted")), "counted")
    assert {name for name, _ in counted} == set(metrics.METRICS)
    for status in ("converged", "not_converged", "failed"):
        assert counted["magray_films_total", status] == 1
    assert counted["magray_evaluations_total", ""] == sum(film.evaluations for film in done)
    assert counted["magray_bytes_total", ""] == 2 * 16 * 16
    assert counted["magray_failures_total", ""] == 1
