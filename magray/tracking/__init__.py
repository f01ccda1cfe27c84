"""Write the curves of fits and of a search's trials to experiment trackers: TensorBoard and MLflow."""

from magray.tracking.tracking import NO_TRACKING, Run, Runs, Tracking

__all__ = ["NO_TRACKING", "Run", "Runs", "Tracking"]
