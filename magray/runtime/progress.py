"""The progress of long work: a bar on a terminal, a line now and then in a log."""

from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

_LINE_SECONDS = 15.0  # between the lines of a log


class Bar:
    """A count of `things` up to `total`, with a text behind it."""

    def __init__(self, things: str, total: int, console: Console, done: int = 0) -> None:
        self.things, self.total, self.console = things, total, console
        self.last_line = monotonic()
        self.columns = Progress(
            SpinnerColumn(),
            TextColumn(things),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.columns.add_task(things, total=total, completed=done, text="starting")

    def start(self) -> None:
        """Show the bar."""
        self.columns.start()

    def stop(self) -> None:
        """Leave the bar as it is."""
        self.columns.stop()

    def show(self, done: int, text: str, line: bool = False) -> None:
        """Show a new count. In a log: a line if the last one is _LINE_SECONDS old, or if `line` asks for one."""
        self.columns.update(self.task, completed=done, text=text)
        if not self.console.is_terminal and (line or monotonic() - self.last_line > _LINE_SECONDS):
            text = f"{self.things} {done} of {self.total}, {text}"
            self.console.print(text, highlight=False, soft_wrap=True, markup=False)
            self.last_line = monotonic()


def duration(seconds: float) -> str:
    """Return seconds for people: 42 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
