"""What the user sees of a campaign: a bar on a terminal, a line now and then in a log."""

from collections import deque
from time import monotonic
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from magray.runtime.events import EventLog

LINE_SECONDS = 15.0  # between the lines of a log
NOW_SECONDS = 60.0  # that the rate "now" looks back


def bar_of(things: str, console: Console) -> Progress:
    """A bar that counts `things`, with a field `news` behind it; nothing where there is no terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn(things),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[news]}"),
        console=console,
        disable=not console.is_terminal,
    )


class FilmProgress:
    """Counts films as they are committed: how many, how fast, how long still, how many went wrong."""

    def __init__(self, total: int, committed: int, events: EventLog) -> None:
        self.total, self.done, self.before = total, committed, committed
        self.failed = self.not_converged = 0
        self.replacements: set[str] = set()  # processes that took the place of others, which died
        self.log, self.console = events, events.console
        self.bar = bar_of("films", self.console)
        self.task = self.bar.add_task("films", total=total, completed=committed, events="starting")
        self.start = self.last_line = monotonic()
        self.lately = deque([(self.start, committed)])

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        outcome = "interrupted" if kind is KeyboardInterrupt else str(error) if error else "done"
        self.log.write("ended", outcome=outcome, films=self.done, seconds=monotonic() - self.start)
        if kind is KeyboardInterrupt:  # more may be committed than has come to our ears
            text = f"stopped: {self.done} or more of {self.total} films are committed; run again for the rest"
            self.log.show(text)
        elif kind is None and not self.console.is_terminal:
            self.log.show(self._line())

    def add(self, results: pa.Table) -> None:
        """Takes note of a block that was just committed: rows as a `Committer` returns them."""
        self._write_down(results)
        self.done += results.num_rows
        self.failed += pc.sum(pc.equal(results["status"], "failed")).as_py() or 0
        self.not_converged += pc.sum(pc.equal(results["status"], "not_converged")).as_py() or 0
        self.lately.append((monotonic(), self.done))
        while self.lately[-1][0] - self.lately[0][0] > NOW_SECONDS and len(self.lately) > 2:
            self.lately.popleft()
        self.bar.update(self.task, completed=self.done, events=self.words)
        if not self.console.is_terminal and monotonic() - self.last_line > LINE_SECONDS:
            self.log.show(self._line())
            self.last_line = monotonic()

    def _write_down(self, results: pa.Table) -> None:
        films = results.to_pylist()
        simulator, bad = films[0]["simulator"], [film for film in films if film["status"] != "converged"]
        if (replacement := films[0]["replaced"]) and replacement not in self.replacements:
            self.replacements.add(replacement)
            self.log.notify(f"a process died, {replacement} took its place; what it had in hand is done again")
        self.log.write(
            "committed",
            file=films[0]["file"],
            simulator=simulator,
            seconds=sum(film["seconds"] for film in films),
            evaluations=sum(film["evaluations"] for film in films),
            films=[film["film_id"] for film in films],
            wrong={film["film_id"]: f"{film['status']}: {film['reason']}" for film in bad},
        )

    @property
    def words(self) -> str:
        """Rates, remaining time, and what went wrong."""
        (then, some), (now, done) = self.lately[0], self.lately[-1]
        rate, overall = (done - some) / max(now - then, 1e-9), (done - self.before) / max(now - self.start, 1e-9)
        words = [f"{rate:.3g} films/s now, {overall:.3g} overall"]
        if self.done < self.total and rate > 0:
            words.append(f"{duration((self.total - self.done) / rate)} left")
        words += [f"{n} {what}" for n, what in ((self.not_converged, "not converged"), (self.failed, "failed")) if n]
        return ", ".join(words)

    def _line(self) -> str:
        return f"films {self.done} of {self.total}, {self.words}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
