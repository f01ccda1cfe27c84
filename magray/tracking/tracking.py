"""Which trackers are written to, and where; the runs that are under way."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from magray.errors import UserError, in_words

PACKAGES = {"tensorboard": "TensorBoard", "mlflow": "MLflow"}  # a tracker's package, and its name for people
_MLFLOW_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # 6 s; the default of 7 would take minutes to say that no server is there
}
Parameters = Mapping[str, str | int | float]

_log = logging.getLogger(__name__)


class Run(Protocol):
    """One curve in one tracker."""

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Add a point. A step that an interrupted run had already is there once."""

    def end(self, values: Mapping[str, float]) -> None:
        """Finish the run, with its final results."""

    def stop(self, interrupted: bool) -> None:
        """Leave the run unfinished: it was interrupted, or failed."""


@dataclass(frozen=True)
class Tracking:
    """Trackers by name, "tensorboard" and "mlflow", and the project's folder, in which their files lie.

    Raises UserError for another name, and for a tracker whose package is not installed.
    """

    trackers: Sequence[str]
    folder: str | Path

    def __post_init__(self) -> None:
        for name in self.trackers:
            if name not in PACKAGES:
                raise UserError(f"track: there is no tracker {name}; use {' or '.join(PACKAGES)}")
            if find_spec(name) is None:
                raise UserError(f"{PACKAGES[name]} is not installed: pip install 'magray[{name}]'")

    @contextmanager
    def run(self, experiment: str, name: str, key: str, parameters: Parameters) -> Iterator["Runs"]:
        """Begin a run in each tracker, or go on with the unfinished one of the same `key`; stop it at an error.

        experiment: the group of runs that are compared. name: for people. Raises UserError if a tracker is unreachable.
        """
        runs = Runs(
            [self._begin(tracker, experiment, name, key, parameters) for tracker in dict.fromkeys(self.trackers)]
        )
        try:
            yield runs
        except BaseException as error:
            runs.stop(interrupted=isinstance(error, KeyboardInterrupt))
            raise

    def _begin(self, tracker: str, experiment: str, name: str, key: str, parameters: Parameters) -> Run:
        if tracker == "mlflow":
            for setting, value in _MLFLOW_SETTINGS.items():
                os.environ.setdefault(setting, value)  # read when MLflow is imported
            from magray.tracking.mlflow import MLflowRun

            return MLflowRun(Path(self.folder), experiment, name, key, parameters)
        from magray.tracking.tensorboard import TensorBoardRun

        return TensorBoardRun(Path(self.folder), name, key, parameters)


NO_TRACKING = Tracking((), ".")


class Runs:
    """The runs of one curve in all trackers.

    A tracker that fails on the way is left out from there on, with a warning: it must not cost the work that it shows.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = list(runs)

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each run."""
        for run in list(self.runs):
            with self._left_out_if_it_fails(run):
                run.add(values, step)

    def end(self, values: Mapping[str, float]) -> None:
        """Finish each run, with its final results."""
        for run in list(self.runs):
            with self._left_out_if_it_fails(run):
                run.end(values)

    def stop(self, interrupted: bool) -> None:
        """Leave each run unfinished."""
        for run in list(self.runs):
            with self._left_out_if_it_fails(run):
                run.stop(interrupted)

    @contextmanager
    def _left_out_if_it_fails(self, run: Run) -> Iterator[None]:
        try:
            yield
        except (OSError, UserError) as error:
            self.runs.remove(run)
            text = in_words(error) if isinstance(error, OSError) else str(error)
            _log.warning("no longer tracked: %s", text)
