"""Progress of a fit: a bar on a terminal, occasional lines in a log."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import numpy as np
from rich.console import Console

from magray.runtime.progress import Bar, duration

POLL_SECONDS = 0.2
BLOCKS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 24  # characters of the loss's curve
Listener = Callable[[int, float, int, float], None]  # called with each finished epoch, as `FitProgress.add` is


class FitProgress:
    """A display of finished epochs, views per second, remaining time, and loss; on a terminal with the loss's curve.

    losses: those of epochs that an interrupted run has finished, by epoch.
    """

    def __init__(self, epochs: int, show: bool = True, losses: Mapping[int, float] | None = None) -> None:
        self.epochs, self.losses = epochs, dict(losses or {})
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
        self.losses = {one: value for one, value in self.losses.items() if one < epoch} | {epoch: loss}
        text = f"{views / seconds:.0f} views/s, {left} left, loss {loss:.3f}"
        if self.console.is_terminal and self.console.encoding.startswith("utf"):
            text += f" {sparkline([*self.losses.values()])}"
        self.bar.show(epoch, text, line=epoch == self.epochs)


def sparkline(values: Sequence[float], width: int = CURVE_WIDTH) -> str:
    """Return a curve of at most `width` block characters, from the lowest for the smallest value to the highest.

    Each character stands for the mean of as many values as it takes; the values must be finite.
    """
    parts = [part.mean() for part in np.array_split(values, min(width, len(values)))]
    low, high = min(parts), max(parts)
    top = len(BLOCKS) - 1
    return "".join(BLOCKS[round(top * (part - low) / (high - low)) if high > low else 0] for part in parts)


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
    def shown(self, epochs: int, show: bool = True, listeners: Sequence[Listener] = ()) -> Iterator[None]:
        """Show the epochs that are added while the context lasts, and tell `listeners`. epochs: their number in all."""
        with (
            self.path.open("a+", encoding="utf-8") as file,
            FitProgress(epochs, show, losses=_losses(file)) as bar,
        ):
            done = threading.Event()
            thread = threading.Thread(target=_follow, args=(file, [bar.add, *listeners], done), daemon=True)
            thread.start()
            try:
                yield
            finally:
                done.set()
                thread.join()


def _losses(file: TextIO) -> dict[int, float]:
    """Return the losses of the epochs that a file has already, by epoch, and leave it at its end."""
    file.seek(0)
    losses = {}
    for line in file:
        with contextlib.suppress(ValueError):  # a run that was killed may have left half a line
            epoch, loss, *_ = json.loads(line)
            losses[epoch] = loss
    return losses


def _follow(file: TextIO, listeners: Sequence[Listener], done: threading.Event) -> None:
    """Tell `listeners` the lines that are added to the file, also the last ones before `done`."""
    begun = ""
    while True:
        last = done.wait(POLL_SECONDS)
        for text in file.readlines():
            begun += text
            if begun.endswith("\n"):  # the rest of a line may be on its way
                for listener in listeners:
                    listener(*json.loads(begun))
                begun = ""
        if last:
            return
