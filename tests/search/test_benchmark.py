"""The benchmark compares what a search found with what trying every set finds, in the same measure."""

from typing import Any

import pytest

from benchmarks.search import Way, seed_spread, verdict


def trial(how: str, train_set: str, worst: float, **changes: Any) -> dict[str, Any]:
    candidate = {"learning_rate": 1e-3, "schedule": "cosine", "budget": 900, "films": 80, "seed": 0, "width": 1.0}
    end = {"step": "explore", "status": "finished", "views": 900, "seconds": 1.0, "worst": worst}
    scales = {"test_scales": [1.0], "errors": [worst]}
    return {"how": how, "train_set": train_set} | candidate | end | scales | changes


EVERY = Way(
    "exhaustive",
    [trial("exhaustive", f"{i / 10:g}", 0.10 + i / 100) for i in range(1, 9)]
    + [trial("exhaustive", "0.1", 0.12, seed=1, step="again")],
)


def test_the_spread_is_that_of_seeds_and_not_of_sets() -> None:
    assert seed_spread(EVERY.trials) == pytest.approx(0.01 / 2**0.5)


def test_a_search_is_as_good_if_its_set_is_when_trained_as_all_sets_were() -> None:
    """A lower error by more views does not count: with equal views the best of all has 0.115, and the set 0.12."""
    found = Way("search", [trial("search", "0.2", 0.02), trial("search", "0.5", 0.3, views=100, status="stopped")])
    said = verdict(found, EVERY, seed_spread(EVERY.trials))
    assert "0.2 µm, trained as all sets were, errs by 12.00%, and the best of all by 11.50%" in said
    assert "within two standard deviations between seeds (0.71% each)" in said
    assert "took 14% of the exhaustive cost: a quarter or less" in said


def test_a_search_that_misses_the_good_sets_is_told_so() -> None:
    found = Way("search", [trial("search", f"{i / 10:g}", 0.2) for i in (8, 7, 6)])
    said = verdict(found, EVERY, seed_spread(EVERY.trials))
    assert "beyond two standard deviations" in said
    assert "38% of the exhaustive cost: more than a quarter" in said


def test_ways_are_compared_by_sets_with_the_same_views() -> None:
    rows = [trial("search", "0.2", 0.1), trial("search", "0.2", 0.05, budget=3600), trial("search", "0.1..0.4", 0.01)]
    assert Way.of("search", [*rows, *EVERY.trials], 900).trials == rows[:1]
