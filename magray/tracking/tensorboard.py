"""Runs in TensorBoard's event files, in the folder `tensorboard` of the project."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

FOLDER = "tensorboard"


class TensorBoardRun:
    """A folder of event files. Its name ends with the run's key, so that a resumed run adds to it."""

    def __init__(self, folder: Path, name: str, key: str, parameters: Mapping[str, str | int | float]) -> None:
        self.folder = folder / FOLDER / re.sub(r"[^\w.+-]+", "-", f"{name} {key}")
        self.parameters = dict(parameters)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.writer: Any = None  # opened at the first point, whose step says which older points it replaces

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Add a point; points from its step on that an interrupted run left are replaced by those of this run."""
        if self.writer is None:
            self._open(step)
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def end(self, values: Mapping[str, float]) -> None:
        """Add the final results beside the parameters, and close the file."""
        if self.writer is None:
            self._open(0)
        for name, value in values.items():
            self.writer.add_scalar(name, value)
        self.writer.file_writer.add_summary(self._session()[2])
        self.writer.close()

    def stop(self, interrupted: bool) -> None:  # noqa: ARG002
        """Close the file."""
        if self.writer is not None:
            self.writer.close()

    def _open(self, step: int) -> None:
        self.writer = SummaryWriter(str(self.folder), purge_step=step)
        for summary in self._session()[:2]:
            self.writer.file_writer.add_summary(summary)

    def _session(self) -> tuple[Any, Any, Any]:
        """Return the summaries by which TensorBoard's page of hyperparameters knows experiment, begin and end."""
        session: tuple[Any, Any, Any] = hparams(self.parameters, {"loss": 0.0})  # type: ignore[no-untyped-call]
        return session
