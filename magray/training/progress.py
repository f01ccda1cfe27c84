"""Progress of a fit: a bar on a terminal, occasional lines in a log."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console

from magray.runtime.progress import Bar, duration

POLL_SECONDS = 0.2


class FitProgress:
    """A display of finished epochs, views per second, remaining time, and loss."""

    def __init__(self, epochs: int, show: bool = True) -> None:
        self.epochs = epochs
        self.console = Console(stderr=True, quiet=not show)
        self.bar = Bar("epochs", epochs, self.console)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def add(self, epoch: int, loss: float, views: int, seconds: float) -> None:
        """Show that `epoch` epochs are done, the last of which had `views`, took `seconds` and ended with `loss`."""
        left = duration((self.epochs - epoch) * seconds)
        text = f"{views / seconds:.0f} views/s, {left} left, loss {loss:.3f}"
        self.bar.show(epoch, text, line=epoch == self.epochs)


class EpochLog:
    """A file to which a training adds a line for each epoch, for the driver to show.

    It lies beside the checkpoints, where all nodes can reach it. A queue of Ray would be a process of its own.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, epoch: int, loss: float, views: int, seconds: float) -> None:
        """Add an epoch; see `FitProgress.add`."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([epoch, loss, views, seconds]) + "\n")

    @contextmanager
    def shown(self, epochs: int, show: bool = True) -> Iterator[None]:
        """Show the epochs that are added while the context lasts. epochs: their number in all."""
        with self.path.open("a+", encoding="utf-8") as file, FitProgress(epochs, show) as bar:
            file.seek(0, os.SEEK_END)
            done = threading.Event()
            thread = threading.Thread(target=_follow, args=(file, bar, done), daemon=True)
            thread.start()
            try:
                yield
            finally:
                done.set()
                thread.join()


def _follow(file: TextIO, bar: FitProgress, done: threading.Event) -> None:
    """Show the lines that are added to the file, also the last ones before `done`."""
    begun = ""
    while True:
        last = done.wait(POLL_SECONDS)
        for text in file.readlines():
            begun += text
            if begun.endswith("\n"):  # the rest of a line may be on its way
                bar.add(*json.loads(begun))
                begun = ""
        if last:
            return
