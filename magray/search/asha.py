"""The ASHA scheduler of a search, which also knows the trials of an interrupted run.

Tune saves ASHA's state in snapshots that are seconds old when a driver is killed, and it offers no way to give a new
scheduler the results of earlier trials. `replay` therefore calls the methods by which Tune's controller reports results
to a scheduler, without a controller and with a stand-in for Tune's Trial: ASHA uses nothing of it but `trial_id`.
tests/search/test_asha.py fails if Ray changes that.
"""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler

from magray.search.dataset import EPOCHS, RUNGS
from magray.search.trials import Row

REDUCTION = 3  # about the best third of the trials continues after each rung


def scheduler(ended: Iterable[Row]) -> ASHAScheduler:
    """Return a scheduler that compares new trials with those that have ended, too."""
    asha = ASHAScheduler("part", "worst", "min", max_t=EPOCHS, grace_period=RUNGS[0], reduction_factor=REDUCTION)
    for row in ended:
        replay(asha, row)
    return asha


def replay(asha: ASHAScheduler, row: Row) -> None:
    """Report the errors of a trial that has ended to ASHA, rung by rung."""
    trial: Any = SimpleNamespace(trial_id=row["trial"])
    controller: Any = None
    asha.on_trial_add(controller, trial)
    for part, worst in zip(RUNGS, row["curve"], strict=False):
        asha.on_trial_result(controller, trial, {"part": part, "worst": worst})
