"""The record of a project's stages, summary.json: what each was made from, what it found, and how long it took.

A stage whose fingerprint is still the same and whose files are there is not run again.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magray.config import Config
from magray.environment import cores, processor, versions
from magray.errors import UserError
from magray.files.atomic import atomic_write
from magray.report.summary import Summary, read_summary

BY_STAGE = ("seconds", "made_from", "done")  # in summary.json
_WRITING = threading.Lock()  # of summary.json
Facts = dict[str, Any]  # entries of summary.json


@dataclass(frozen=True)
class StageCache:
    """summary.json of a project's folder, and the rule that says whether a stage has to run."""

    config: Config

    @property
    def path(self) -> Path:
        """summary.json itself."""
        return self.config.output / "summary.json"

    @property
    def summary(self) -> Summary:
        """The content of summary.json; an empty one if there is none yet. Raises UserError if it is damaged."""
        return read_summary(self.path, self.config.name)

    def run(
        self, stage: str, inputs: Any, files: Sequence[Path], work: Callable[[], Facts], *found: str
    ) -> tuple[bool, float]:
        """Call `work`, which makes `files` from `inputs`, unless it is done. Return whether it was, and its seconds.

        The facts that it returns, those named in `found` among them, go into summary.json with the record of its end.
        Files made from other inputs are removed first, so that a stage cut short never leaves old beside new. A stage
        that resumes adds to its seconds. Raises UserError for files that no stage of this project has made.
        """
        summary, mark = self.summary, fingerprint(inputs)
        same = summary.made_from.get(stage) == mark
        spent = summary.seconds.get(stage, 0.0) if same else 0.0
        if self.is_done(stage, inputs, files) and all(getattr(summary, name) is not None for name in found):
            return True, spent
        if not same:
            if stage not in summary.made_from:
                self._check_no_foreign(files)
            for file in files:
                file.unlink(missing_ok=True)
        self.write({"made_from": {stage: mark}, "done": {stage: None}} | dict.fromkeys(found))
        start, end = time.monotonic(), {}
        try:
            end = work() | {"done": {stage: mark}}
        finally:
            spent += time.monotonic() - start
            self.write(end | duration(stage, spent))
        return False, spent

    def is_done(self, stage: str, inputs: Any, files: Sequence[Path]) -> bool:
        """Return whether a stage has ended with these inputs, and its files are still there."""
        return self.summary.done.get(stage) == fingerprint(inputs) and all(file.exists() for file in files)

    def write(self, facts: Facts) -> None:
        """Update summary.json as a whole. `seconds`, `made_from` and `done` keep what they hold of other stages.

        Fits that run side by side write in turn.
        """
        common: Facts = {"config": self.config.model_dump(mode="json"), "versions": versions()}
        common |= {"machine": f"{cores()} cores, {processor()}"}
        with _WRITING:
            before = self.summary.model_dump(exclude_unset=True)
            facts = {name: before.get(name, {}) | new if name in BY_STAGE else new for name, new in facts.items()}
            text = json.dumps(before | common | facts, indent=2, ensure_ascii=False)
            with atomic_write(self.path) as unfinished:
                unfinished.write_text(text + "\n", encoding="utf-8")

    def _check_no_foreign(self, files: Sequence[Path]) -> None:
        if foreign := [file for file in files if file.exists()]:
            raise UserError(
                f"{foreign[0]} is not of this project, as {self.path} says: move it away, or choose another output"
            )


def fingerprint(inputs: Any) -> str:
    """Return a hash of what a stage is made from, which JSON can express."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def duration(stage: str, seconds: float) -> Facts:
    """Return the entry of summary.json for the time that a stage took."""
    return {"seconds": {stage: round(seconds, 2)}}
