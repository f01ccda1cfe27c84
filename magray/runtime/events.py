"""Console messages and a JSON-lines log of the events of a campaign."""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from magray.masking import mask


class EventLog:
    """Lines on the error stream, and a JSON object a line appended to the file `log`, if one is given.

    Every object has `time` (UTC) and `event`; a `note` has the line that was shown. Any thread may write.
    """

    def __init__(self, log: Path | None = None, show: bool = True) -> None:
        self.log = log
        self.console = Console(stderr=True, quiet=not show)
        self.lock = threading.Lock()

    def notify(self, text: str) -> None:
        """Show the user a line, and log it."""
        self.show(text)
        self.write("note", text=text)

    def show(self, text: str) -> None:
        """Show a line on the terminal alone."""
        self.console.print(mask(text), highlight=False, soft_wrap=True, markup=False)

    def write(self, event: str, **facts: Any) -> None:
        """Write a line of the log alone."""
        if self.log is None:
            return
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event} | facts)
        with self.lock, self.log.open("a", encoding="utf-8") as stream:
            stream.write(mask(line) + "\n")
