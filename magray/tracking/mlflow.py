"""Runs in MLflow: at MLFLOW_TRACKING_URI, by default in the project's folder."""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, ViewType
from mlflow.exceptions import MlflowException

from magray.errors import UserError, one_line

DATABASE = "mlflow.db"
KEY = "magray.key"  # tag by which an unfinished run is found again
_UNFINISHED = ("RUNNING", "KILLED", "FAILED")
_beginning = threading.Lock()  # fits side by side would all make the database and the experiment


class MLflowRun:
    """A run of an experiment. A run with the same key that did not finish goes on."""

    def __init__(
        self, folder: Path, experiment: str, name: str, key: str, parameters: Mapping[str, str | int | float]
    ) -> None:
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.absolute() / DATABASE}"
        folder.mkdir(parents=True, exist_ok=True)
        with self._reached(), _beginning:
            self.client = MlflowClient(tracking_uri=self.uri)
            known = self.client.get_experiment_by_name(experiment)
            group = known.experiment_id if known else self.client.create_experiment(experiment)
            run = self._unfinished(group, key)
            if run is None:
                run = self.client.create_run(group, run_name=name, tags={KEY: key})
                pairs = [Param(name, str(value)) for name, value in parameters.items()]
                self.client.log_batch(run.info.run_id, params=pairs)
            else:
                self.client.update_run(run.info.run_id, status="RUNNING")
            self.id = run.info.run_id
            self.last: dict[str, int] = {}  # name -> last step that the run has, of those asked for so far

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Add a point, unless the run has one at this step or a later one."""
        with self._reached():
            new = {name: value for name, value in values.items() if step > self._last_step(name)}
            self._log(new, step)
            self.last |= dict.fromkeys(new, step)

    def end(self, values: Mapping[str, float]) -> None:
        """Add the final results, and mark the run as finished."""
        with self._reached():
            self._log(values, 0)
            self.client.set_terminated(self.id)

    def stop(self, interrupted: bool) -> None:
        """Mark the run as killed or failed."""
        with self._reached():
            self.client.set_terminated(self.id, "KILLED" if interrupted else "FAILED")

    def _unfinished(self, experiment: str, key: str) -> Run | None:
        """Return the last run with this key, unless it is finished."""
        found = self.client.search_runs(
            [experiment], f"tags.`{KEY}` = '{key}'", ViewType.ACTIVE_ONLY, max_results=1, order_by=["start_time DESC"]
        )
        return found[0] if found and found[0].info.status in _UNFINISHED else None

    def _last_step(self, name: str) -> int:
        if name not in self.last:
            self.last[name] = max((one.step for one in self.client.get_metric_history(self.id, name)), default=-1)
        return self.last[name]

    def _log(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(self.id, [Metric(name, value, now, step) for name, value in values.items()])

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Raise UserError if MLflow does not answer or refuses."""
        try:
            yield
        except MlflowException as error:
            raise UserError(f"MLflow at {self.uri}: {one_line(error)}; check MLFLOW_TRACKING_URI") from error
