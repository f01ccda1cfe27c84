"""The files of a store, by their names, and the note that says which of them count.

    <store>/_campaign.json                      format, campaign, films in its plan, generation of the files
    <store>/_driver.json                        the lease of who writes; see lease.py
    <store>/films-1/films-<24 digits>.parquet   films of generation 1; the digits are a hash of their ids
    <store>/films-1/failed-<24 digits>.parquet  films of generation 1 that failed, which have no picture

A compaction writes the next generation into a folder of its own, names it in _campaign.json, and then removes the one
before: whoever reads the files of the generation that is named sees each film once. Generation 0 is of stores that were
written in format 2: its files lie in the store's folder itself, and failed films lie among the others.
"""

import json
import re
from dataclasses import dataclass

from magray.errors import UserError, in_words, one_line
from magray.store.location import UNFINISHED, Location
from magray.store.parquet import bounded_map, readers
from magray.store.retry import RETRY_SECONDS

FORMAT, FORMER_FORMAT = 3, 2
# readers of Parquet folders pass over names that begin with an underscore
CAMPAIGN_FILE, LEASE_FILE = "_campaign.json", "_driver.json"
FORMER_JOURNAL = "_replacing.json"  # of compactions in format 2
FINISHED, FAILED = "films", "failed"  # begin the names of the files with such films

_TABLE = rf"(?:{FINISHED}|{FAILED})-[0-9a-f]{{24}}\.parquet"
_NOTE = "|".join(map(re.escape, (CAMPAIGN_FILE, LEASE_FILE, FORMER_JOURNAL)))
_FOLDER = r"films-[1-9][0-9]{0,8}"
_HIDDEN_FOLDER = rf"\.{_FOLDER}{re.escape(UNFINISHED)}"  # of a generation that is being removed


@dataclass(frozen=True)
class Note:
    """The content of a store's CAMPAIGN_FILE."""

    campaign: str
    films: int  # in the campaign's plan
    generation: int
    format: int = FORMAT

    def write(self, location: Location) -> None:
        """Write the note, in the current format, and make sure that the disk holds it."""
        content = {"format": FORMAT, "campaign": self.campaign, "films": self.films, "generation": self.generation}
        location.write(CAMPAIGN_FILE, json.dumps(content).encode(), RETRY_SECONDS)
        location.flush(CAMPAIGN_FILE)


def read_note(location: Location) -> Note | None:
    """Return a store's note, or None if there is none. Raises UserError if it is damaged, or of another format."""
    try:
        content = location.read(CAMPAIGN_FILE, RETRY_SECONDS)
        note = _parsed(content)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"store {location.uri} cannot be read: {in_words(error)}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"store {location.uri} cannot be read: {CAMPAIGN_FILE}: {one_line(error)}") from error
    if note.format not in (FORMER_FORMAT, FORMAT):
        advice = "install a newer magray" if note.format > FORMAT else "simulate its films again"
        raise UserError(f"store {location.uri} is of format {note.format}, this magray reads {FORMAT}; {advice}")
    if note.format == FORMER_FORMAT:
        _check_nothing_is_replaced(location)
    return note


def _parsed(content: bytes) -> Note:
    """Return the content of a CAMPAIGN_FILE. Raises ValueError if it is damaged."""
    found, keys = json.loads(content), ("campaign", "films", "generation", "format")
    match [found.get(key) for key in keys] if isinstance(found, dict) else []:
        case [str(campaign), int(films), int(generation), int(format_)] if films >= 0 and 0 <= generation < 10**9:
            return Note(campaign, films, int(generation), format_)
        case [str(campaign), int(films), None, int(format_)] if films >= 0 and format_ != FORMAT:
            return Note(campaign, films, 0, format_)
    raise ValueError("it is damaged; copy it from a backup, or simulate into another store")


def _check_nothing_is_replaced(location: Location) -> None:
    """Raise UserError if a compaction in format 2 was interrupted, after which a film may be in two files."""
    try:
        journal = location.read(FORMER_JOURNAL, RETRY_SECONDS)
    except FileNotFoundError:
        return
    if not journal.endswith(b'"from": []}'):
        raise UserError(
            f"store {location.uri}: an earlier magray was interrupted while it replaced files; run `magray store "
            "compact` with the version that wrote the store, then go on with this one"
        )


def folder_of(generation: int) -> str:
    """Return the folder of a generation in the store: films-1 for 1, and the store itself, "", for 0."""
    return f"films-{generation}" if generation else ""


def path_of(generation: int, name: str) -> str:
    """Return the path in the store of a file of a generation."""
    return f"{folder_of(generation)}/{name}" if generation else name


def generations(names: list[str]) -> set[int]:
    """Return the generations that have any files, by the names in a store's folder."""
    found = {int(name.partition("/")[0][len("films-") :]) for name in names if re.match(rf"{_FOLDER}/", name)}
    return found | ({0} if any(is_film_file(name) for name in names) else set())


def leftover_folder(name: str, generation: int) -> str:
    """Return the folder that a path lies in, with a slash, if it is of another generation; otherwise ""."""
    found = re.match(rf"(?:{_FOLDER}|{_HIDDEN_FOLDER})/", name)
    return found[0] if found and found[0] != f"{folder_of(generation)}/" else ""


def is_film_file(name: str) -> bool:
    """Return whether a file, by its name without a folder, is one to look for films in."""
    return name.startswith((f"{FINISHED}-", f"{FAILED}-")) and name.endswith(".parquet") and "/" not in name


def holds_failed(path: str) -> bool:
    """Return whether a file of films has those that failed, by its path."""
    return path.rpartition("/")[2].startswith(f"{FAILED}-")


def is_unfinished(name: str) -> bool:
    """Return whether a file, by its name without a folder, is one of ours that was never finished."""
    return re.fullmatch(rf"\.({_TABLE}|{_NOTE})\.[0-9a-f]{{8}}{re.escape(UNFINISHED)}", name) is not None


def is_ours(name: str) -> bool:
    """Return whether a path in a store's folder is one of a store, finished or not."""
    folder = re.match(rf"(?:{_FOLDER}|{_HIDDEN_FOLDER})/", name)
    name = name[folder.end() :] if folder else name
    return (folder is not None and not name) or is_unfinished(name) or bool(re.fullmatch(f"{_TABLE}|{_NOTE}", name))


def remove_leftovers(location: Location, generation: int) -> None:
    """Remove what killed writers left: half-written files, and generations other than `generation`.

    Nothing else is removed: neither what has other names than our files have, nor anything but plain files, nor
    anything behind a link. The caller has the store's lease.
    """
    names = location.names("", RETRY_SECONDS)
    current = location.names(folder_of(generation), RETRY_SECONDS)
    left = {name for name in names if is_unfinished(name)}
    left |= {path_of(generation, name) for name in current if is_unfinished(name)}
    whole = any(map(is_film_file, current))  # a generation without films replaces none
    if whole and generation:
        left |= {name for name in names if re.fullmatch(f"{_TABLE}|{re.escape(FORMER_JOURNAL)}", name)}
    _remove(location, sorted(name for name in left if location.is_plain_file(name)))
    if whole:
        for folder in sorted({leftover_folder(name, generation) for name in names} - {""}):
            _remove_folder(location, folder.rstrip("/"))


def _remove_folder(location: Location, folder: str) -> None:
    """Remove a generation, on a local disk for all readers at once, unless it holds anything that is not ours."""
    names = location.names(folder, RETRY_SECONDS)
    ours = [name for name in names if is_ours(name) and location.is_plain_file(f"{folder}/{name}")]
    if names and ours == names:
        folder = location.hide(folder)
    _remove(location, [f"{folder}/{name}" for name in ours])
    location.remove_empty_folder(folder)


def _remove(location: Location, names: list[str]) -> None:
    for _ in bounded_map(location.remove, names, readers(location)):
        pass
