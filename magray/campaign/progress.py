"""The progress of a campaign, on the terminal and in its event log."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from magray.runtime.events import EventLog
from magray.runtime.progress import Bar, duration

_RATE_SECONDS = 60.0  # over which the rate "now" is taken
_SHOWN = ["film_id", "file", "status"]  # of the latest films
LATEST = 12  # films that a state names


@dataclass(frozen=True)
class CampaignState:
    """A campaign after a commit, or at its end.

    done, total: films. text: rates, remaining time and failures. latest: film_id, file and status of the last committed
    films that have a picture, the newest last. outcome: "" while the campaign runs, then "done", "interrupted" or the
    error.
    """

    done: int
    total: int
    text: str
    latest: tuple[dict[str, str], ...]
    outcome: str = ""


Watch = Callable[[CampaignState], None]


class FilmProgress:
    """A count of committed films, with rates, the remaining time, and the number of films that went wrong."""

    def __init__(self, total: int, committed: int, events: EventLog, watch: Watch | None = None) -> None:
        self.watch, self.latest = watch, deque[dict[str, str]](maxlen=LATEST)
        self.total, self.done, self.before = total, committed, committed
        self.failed = self.not_converged = 0
        self.replacements: set[str] = set()  # processes that took the place of others, which died
        self.events = events
        self.bar = Bar("films", total, events.console, committed)
        self.start = monotonic()
        self.recent = deque([(self.start, committed)])

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        outcome = "interrupted" if kind is KeyboardInterrupt else str(error) if error else "done"
        self._tell(outcome)
        self.events.write("ended", outcome=outcome, films=self.done, seconds=monotonic() - self.start)
        if kind is KeyboardInterrupt:  # more may be committed than the driver has heard of
            text = f"stopped: {self.done} or more of {self.total} films are committed; run again for the rest"
            self.events.show(text)
        elif kind is None:
            self.bar.show(self.done, self.text, line=True)

    def add(self, results: pa.Table) -> None:
        """Count a block that was just committed: rows as a `Committer` returns them."""
        self._note_replacement(results["replaced"][0].as_py())
        for file in results["file"].unique():
            self._write_committed(results.filter(pc.equal(results["file"], file)))
        self.done += results.num_rows
        self.failed += pc.sum(pc.equal(results["status"], "failed")).as_py() or 0
        self.not_converged += pc.sum(pc.equal(results["status"], "not_converged")).as_py() or 0
        self.recent.append((monotonic(), self.done))
        while self.recent[-1][0] - self.recent[0][0] > _RATE_SECONDS and len(self.recent) > 2:
            self.recent.popleft()
        self.bar.show(self.done, self.text)
        self.latest += results.filter(pc.not_equal(results["status"], "failed")).select(_SHOWN).to_pylist()
        self._tell()

    def _tell(self, outcome: str = "") -> None:
        if self.watch is not None:
            self.watch(CampaignState(self.done, self.total, self.text, tuple(self.latest), outcome))

    def _note_replacement(self, process: str) -> None:
        if process and process not in self.replacements:
            self.replacements.add(process)
            self.events.notify(f"a process died, {process} took its place; its unfinished films are simulated again")

    def _write_committed(self, results: pa.Table) -> None:
        films = results.to_pylist()
        bad = [film for film in films if film["status"] != "converged"]
        self.events.write(
            "committed",
            file=films[0]["file"],
            simulator=films[0]["simulator"],
            seconds=sum(film["seconds"] for film in films),
            evaluations=sum(film["evaluations"] for film in films),
            films=[film["film_id"] for film in films],
            wrong={film["film_id"]: f"{film['status']}: {film['reason']}" for film in bad},
        )

    @property
    def text(self) -> str:
        """Return rates, remaining time, and the numbers of failures."""
        (then, some), (now, done) = self.recent[0], self.recent[-1]
        rate, overall = (done - some) / max(now - then, 1e-9), (done - self.before) / max(now - self.start, 1e-9)
        parts = [f"{rate:.3g} films/s now, {overall:.3g} overall"]
        if self.done < self.total and rate > 0:
            parts.append(f"{duration((self.total - self.done) / rate)} left")
        parts += [f"{n} {what}" for n, what in ((self.not_converged, "not converged"), (self.failed, "failed")) if n]
        return ", ".join(parts)
