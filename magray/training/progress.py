"""Progress of a fit: a bar on a terminal, a line now and then in a log."""

from types import TracebackType
from typing import Self

from rich.console import Console

from magray.runtime.progress import Bar, duration


class FitProgress:
    """Counts epochs: how many, how many views a second, how long still, and the loss."""

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
        """Take note that `epoch` epochs are done, the last with a `loss` of `views` in `seconds`."""
        left = duration((self.epochs - epoch) * seconds)
        text = f"{views / seconds:.0f} views/s, {left} left, loss {loss:.3f}"
        self.bar.show(epoch, text, line=epoch == self.epochs)
