"""What happens in a campaign: words for who watches it, and a log for who asks later."""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from magray.masking import mask


class EventLog:
    """Lines on the terminal's error stream, and a JSON object a line appended to the file `log`, if one is given.

    Every object has `time` (UTC) and `event`; `note` holds what the terminal said. Any thread may write.
    """

    def __init__(self, log: Path | None = None, show: bool = True) -> None:
        self.log = log
        self.console = Console(stderr=True, quiet=not show)
        self.lock = threading.Lock()

    def notify(self, text: str) -> None:
        """Says something that the user should know, and writes it down."""
        self.show(text)
        self.write("note", text=text)

    def show(self, text: str) -> None:
        """A line on the terminal alone."""
        self.console.print(mask(text), highlight=False, soft_wrap=True, markup=False)

    def write(self, event: str, **facts: Any) -> None:
        """A line of the log alone."""
        if self.log is None:
            return
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event} | facts)
        with self.lock, self.log.open("a", encoding="utf-8") as stream:
            stream.write(mask(line) + "\n")
