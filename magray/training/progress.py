"""Progress of a fit: a bar on a terminal, occasional lines in a log."""

from types import TracebackType
from typing import Self

from rich.console import Console

from magray.runtime.progress import Bar, duration


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
