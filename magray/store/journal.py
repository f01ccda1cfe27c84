"""What makes it safe to put one file in the place of others: a note of what is being replaced by what.

    <store>/_replacing.json   {"id": …, "into": [new files], "from": [old files]}

The note comes first, then the new files, then the old ones go, then a note that nothing is being replaced. Whoever
lists the store in between leaves out the old files once all new ones are there, and the new ones until then, so that
each film is there exactly once at every moment. The last note stays: a reader that finds the same `id` before and after
its listing knows that nothing was replaced meanwhile.
"""

import json
import re
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from magray.errors import UserError
from magray.store.location import UNFINISHED, Location
from magray.store.parquet import bounded_map, is_film_file, readers
from magray.store.retry import RETRY_SECONDS

JOURNAL_FILE = "_replacing.json"
_FILMS = r"films-[0-9a-f]{24}\.parquet"
_OURS = rf"{_FILMS}|_campaign\.json|_driver\.json|{re.escape(JOURNAL_FILE)}"
LISTINGS, PAUSE = 50, 0.1  # who gets no quiet listing in so many, these seconds apart, reads a damaged store


@dataclass(frozen=True)
class Journal:
    """A replacement under way, or the last one if `old` is empty."""

    id: str
    into: tuple[str, ...] = ()
    old: tuple[str, ...] = ()

    @classmethod
    def begin(cls, location: Location, old: list[str], into: list[str]) -> "Journal":
        """Notes that `into` will take the place of `old`."""
        return cls(uuid.uuid4().hex, tuple(into), tuple(old))._written(location)

    def finish(self, location: Location) -> None:
        """Removes the old files. All new ones must be there."""
        self._end(location, self.old)

    def settle(self, location: Location) -> None:
        """Removes the old files if all new ones are there, otherwise the new ones: after a kill, at any moment."""
        present = set(location.names(RETRY_SECONDS))
        self._end(location, present.intersection(self.old if present.issuperset(self.into) else self.into))

    def committed(self, names: list[str]) -> list[str] | None:
        """The files of a listing that count; None if the listing saw some of the old files go and not the new ones."""
        if not self.old:
            return names
        present = set(names)
        if present.issuperset(self.into):
            return sorted(present.difference(self.old))
        return sorted(present.difference(self.into)) if present.issuperset(self.old) else None

    def _end(self, location: Location, gone: Iterable[str]) -> None:
        for _ in bounded_map(location.remove, sorted(gone), readers(location)):
            pass
        Journal(self.id)._written(location)

    def _written(self, location: Location) -> "Journal":
        note = {"id": self.id, "into": self.into, "from": self.old}
        location.write(JOURNAL_FILE, json.dumps(note).encode(), RETRY_SECONDS)
        return self


def read_journal(location: Location) -> Journal | None:
    """The last note; None if nothing was ever replaced. Raises UserError if it cannot be read."""
    try:
        content = location.read(JOURNAL_FILE, RETRY_SECONDS)
    except FileNotFoundError:
        return None
    try:
        note = json.loads(content)
        journal = Journal(note["id"], tuple(note["into"]), tuple(note["from"]))
        if not all(re.fullmatch(_FILMS, name) for name in journal.into + journal.old):
            raise ValueError("it names other files than those of films")  # they would be removed
        return journal
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"store {location.uri} cannot be read: {JOURNAL_FILE} is damaged; "
            "remove it, and the files that `magray store verify` then names"
        ) from error


def settle(location: Location) -> None:
    """Ends or takes back what a killed process was replacing, and removes what it left half-written.

    Nothing else is removed: neither what has other names than our files have, nor anything but plain files.
    """
    journal = read_journal(location)
    if journal is not None and journal.old:
        journal.settle(location)
    for name in location.names(RETRY_SECONDS):
        if is_unfinished(name) and location.is_plain_file(name):
            location.remove(name)


def is_unfinished(name: str) -> bool:
    """Whether a file of the store's folder is one of ours that was never finished, by its name."""
    return re.fullmatch(rf"\.({_OURS})\.[0-9a-f]{{8}}{re.escape(UNFINISHED)}", name) is not None


def is_ours(name: str) -> bool:
    """Whether a file of the store's folder is one of a store, finished or not, by its name."""
    return is_unfinished(name) or re.fullmatch(_OURS, name) is not None


def committed_files(location: Location) -> list[str]:
    """The names of the files that count, sorted, of one moment. Raises UserError if the journal is of other files."""
    for _ in range(LISTINGS):
        before = read_journal(location)
        names = [name for name in location.names(RETRY_SECONDS) if is_film_file(name)]
        if read_journal(location) == before:
            found = names if before is None else before.committed(names)
            if found is not None:
                return found
        time.sleep(PAUSE)
    raise UserError(
        f"store {location.uri} lacks files that {JOURNAL_FILE} says are being replaced; "
        "remove that file and run `magray simulate` again for what is lost"
    )
