"""Record in summary.json which stages of a project are done, so that no stage is done twice.

A stage's fingerprint is a hash of its inputs. summary.json has it under `made_from` from the stage's beginning, and
under `done` from its end. A stage is done if `done` holds the fingerprint of its present inputs and its files exist.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magray.config import Config, DesignedConfig
from magray.environment import cores, processor, versions
from magray.errors import UserError
from magray.files.atomic import atomic_write
from magray.report.summary import Summary, read_summary

Facts = dict[str, Any]  # entries of summary.json
_BY_STAGE = ("seconds", "made_from", "done")  # entries that hold a value for each stage
_WRITING = threading.Lock()  # fits that run side by side write summary.json in turn


@dataclass(frozen=True)
class StageCache:
    """The stages of one project that are done, as its summary.json says."""

    folder: Path
    config: Config | DesignedConfig

    @property
    def summary(self) -> Summary:
        """Return the content of summary.json, or an empty summary. Raises UserError if the file is damaged."""
        return read_summary(self.folder / "summary.json", self.config.name)

    def is_done(self, stage: str, inputs: Any, files: Sequence[Path]) -> bool:
        """Return whether a stage has ended with these inputs and its files still exist."""
        return self.summary.done.get(stage) == fingerprint(inputs) and all(file.exists() for file in files)

    def run(
        self, stage: str, inputs: Any, files: Sequence[Path], work: Callable[[], Facts], *entries: str
    ) -> tuple[bool, float]:
        """Do `work`, which makes `files` from `inputs`, unless it is done. Return whether it was, and its seconds.

        What `work` returns goes into summary.json together with the record of its end; `entries` names what of that a
        finished stage must have. Files made from other inputs are removed first, so that an interrupted stage never
        leaves old files beside new ones. The seconds of interrupted work with the same inputs add up.
        """
        summary, mark = self.summary, fingerprint(inputs)
        same = summary.fingerprints.get(stage) == mark
        spent = summary.seconds.get(stage, 0.0) if same else 0.0
        if self.is_done(stage, inputs, files) and all(getattr(summary, name) is not None for name in entries):
            return True, spent
        if not same:
            if stage not in summary.fingerprints:
                self._check_foreign_files(files)
            for file in files:
                file.unlink(missing_ok=True)
        self.write({"made_from": {stage: mark}, "done": {stage: None}} | dict.fromkeys(entries))
        start, end = time.monotonic(), {}
        try:
            end = work() | {"done": {stage: mark}}
        finally:
            spent += time.monotonic() - start
            self.write(end | seconds_of(stage, spent))
        return False, spent

    def write(self, facts: Facts) -> None:
        """Update entries of summary.json, which is replaced as a whole.

        Of `seconds`, `made_from` and `done`, only the stages that `facts` names change.
        """
        about: Facts = {"config": self.config.model_dump(mode="json"), "versions": versions()}
        about |= {"machine": f"{cores()} cores, {processor()}"}
        with _WRITING:
            before = self.summary.model_dump(exclude_unset=True, by_alias=True)
            facts = {name: before.get(name, {}) | new if name in _BY_STAGE else new for name, new in facts.items()}
            text = json.dumps(before | about | facts, indent=2, ensure_ascii=False)
            with atomic_write(self.folder / "summary.json") as unfinished:
                unfinished.write_text(text + "\n", encoding="utf-8")

    def _check_foreign_files(self, files: Sequence[Path]) -> None:
        """Raise UserError if one of a stage's files exists although the stage never ran: it would be overwritten."""
        if foreign := [file for file in files if file.exists()]:
            raise UserError(
                f"{foreign[0]} was not made by this project ({self.folder / 'summary.json'} does not list it): "
                "move it away, or choose another output"
            )


def fingerprint(inputs: Any) -> str:
    """Return a hash of inputs that can be written as JSON: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def seconds_of(stage: str, seconds: float) -> Facts:
    """Return the entry of summary.json for the time that a stage took."""
    return {"seconds": {stage: round(seconds, 2)}}
