"""A scheduler with replayed trials decides as one that saw them itself: Ray has not changed what `replay` relies on."""

from types import SimpleNamespace
from typing import Any

import pytest

from magray.search.asha import scheduler
from tests.support.studies import trial

CURVES = [[0.5, 0.3, 0.1], [0.6, 0.4, 0.2], [0.7]]  # the last was stopped
NOBODY: Any = None


def report(asha: Any, name: str, part: int, worst: float) -> str:
    """Return ASHA's decision about a new trial."""
    new: Any = SimpleNamespace(trial_id=name)
    asha.on_trial_add(NOBODY, new)
    return str(asha.on_trial_result(NOBODY, new, {"part": part, "worst": worst}))


@pytest.mark.parametrize(("part", "good", "bad"), [(1, 0.45, 0.65), (3, 0.25, 0.45)])
def test_a_new_trial_is_compared_with_the_trials_of_an_interrupted_run(part: int, good: float, bad: float) -> None:
    rows = [trial([curve[-1]], curve=curve, seed=seed) for seed, curve in enumerate(CURVES)]
    assert report(scheduler(rows), "good", part, good) == "CONTINUE"
    assert report(scheduler(rows), "bad", part, bad) == "STOP"
    assert report(scheduler([]), "bad", part, bad) == "CONTINUE", "without them there is nothing to compare it with"


def test_replayed_errors_are_all_that_asha_knows() -> None:
    """Its state lies in `_brackets`: errors by trial at each rung, negated because ASHA maximises."""
    rows = [trial([curve[-1]], curve=curve, seed=seed) for seed, curve in enumerate(CURVES)]
    (bracket,) = scheduler(rows)._brackets
    recorded = {int(part): sorted(errors.values()) for part, errors in bracket._rungs}
    assert recorded[1] == [-0.7, -0.6, -0.5]
    assert recorded[3] == [-0.4, -0.3]
