"""What the user sees of a fit: a bar on a terminal, a line now and then in a log."""

from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console

from magray.runtime.progress import LINE_SECONDS, bar_of, duration


class FitProgress:
    """Counts epochs: how many, how many views a second, how long still, and the loss."""

    def __init__(self, epochs: int, show: bool = True) -> None:
        self.epochs = epochs
        self.console = Console(stderr=True, quiet=not show)
        self.bar = bar_of("epochs", self.console)
        self.task = self.bar.add_task("epochs", total=epochs, news="starting")
        self.last_line = monotonic()

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def add(self, epoch: int, loss: float, views: int, seconds: float) -> None:
        """Takes note that `epoch` epochs are done, the last with a `loss` of `views` in `seconds`."""
        left = duration((self.epochs - epoch) * seconds)
        news = f"{views / seconds:.0f} views/s, {left} left, loss {loss:.3f}"
        self.bar.update(self.task, completed=epoch, news=news)
        if not self.console.is_terminal and (monotonic() - self.last_line > LINE_SECONDS or epoch == self.epochs):
            self.console.print(f"epochs {epoch} of {self.epochs}, {news}", highlight=False, soft_wrap=True)
            self.last_line = monotonic()
