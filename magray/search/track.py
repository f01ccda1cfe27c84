"""Write a search's trials to experiment trackers."""

from magray.search.dataset import EPOCHS, RUNGS
from magray.search.trials import Row
from magray.tracking import Tracking

PARAMETERS = ("train_set", "learning_rate", "schedule", "width", "budget", "films", "seed", "step", "status")


def track_trial(tracking: Tracking, experiment: str, row: Row) -> None:
    """Write a trial that ended, a row of SEARCH, as a run: its parameters, and its worst error by views."""
    name, parameters = f"trial {row['train_set']}", {name: row[name] for name in PARAMETERS}
    with tracking.run(experiment, name, row["trial"], parameters) as run:
        for part, worst in zip(RUNGS, row["curve"], strict=False):
            run.add({"worst_error": worst}, row["budget"] * part // EPOCHS)
        scored = row["status"] != "failed"
        run.end({"worst_scale_um": row["worst_scale"], "seconds": row["seconds"]} if scored else {})
