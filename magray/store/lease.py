"""The lease of a store, which lets one driver write at a time: a campaign's, or a compaction's.

    <store>/_driver.json   the driver that has it, and a number that rises every BEAT seconds while it lives

Clocks are not compared. A driver that finds a lease watches it for longer than a beat: if the number rises, its owner
lives. Two that begin at once both write, wait, and read who wrote last. A driver that was frozen for long may lose its
lease. What it commits then goes to the files that count, and the same films always go to the same files.
"""

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from magray.errors import UserError
from magray.store.layout import LEASE_FILE
from magray.store.location import Location

BEAT = 2.0  # seconds
EXPIRY = 3 * BEAT  # a lease whose number stands still for so long is a dead driver's
CONTEST = 0.3  # seconds in which a driver that began at the same time writes its own lease


@contextlib.contextmanager
def lease(location: Location, notify: Callable[[str], None]) -> Iterator[None]:
    """Have the store's lease while the context lasts. Raises UserError if another driver has it and lives.

    notify: gets a line when a dead driver's lease is taken over, or when the store stops answering.
    """
    driver = uuid.uuid4().hex
    if _wait_until_free(location):
        notify("the driver before this one is dead; going on from what it left")
    _write(location, driver, 0)
    time.sleep(CONTEST)
    if (holder := _read(location)) is None or holder["driver"] != driver:
        raise UserError(_taken(location))
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(location, driver, stop, notify), daemon=True)
    heart.start()
    try:
        yield
    finally:
        stop.set()
        heart.join()
        with contextlib.suppress(UserError):  # the store does not answer: what ended the campaign says so already
            if (holder := _read(location)) is not None and holder["driver"] == driver:
                location.remove(LEASE_FILE)


def is_leased(location: Location) -> bool:
    """Return whether a driver has the store's lease, be it alive or dead."""
    return _read(location) is not None


def _wait_until_free(location: Location) -> bool:
    """Return whether there was a dead driver's lease. Raises UserError if its driver lives."""
    found = _read(location)
    if found is None:
        return False
    end = time.monotonic() + EXPIRY
    while time.monotonic() < end:
        time.sleep(BEAT / 4)
        now = _read(location)
        if now is None:
            return False
        if now != found:
            raise UserError(_taken(location))
    return True


def _taken(location: Location) -> str:
    return f"another driver is at work on {location.uri}: wait for it, or stop it and run again"


def _beat(location: Location, driver: str, stop: threading.Event, notify: Callable[[str], None]) -> None:
    number, silent_since = 0, 0.0
    while not stop.wait(BEAT):
        number += 1
        try:
            _write(location, driver, number)
        except UserError as error:  # no reason to end here: whatever wants to commit waits, and ends if it must
            if not silent_since and not location.local:  # a full disk ends the next commit, which says so
                silent_since = time.monotonic()
                notify(f"{str(error).partition(';')[0]}; whatever is to be committed waits for it")
        else:
            if silent_since:
                notify(f"{location.uri} takes files again, after {time.monotonic() - silent_since:.0f} s")
            silent_since = 0.0


def _write(location: Location, driver: str, number: int) -> None:
    location.write(LEASE_FILE, json.dumps({"driver": driver, "beat": number}).encode())


def _read(location: Location) -> dict[str, Any] | None:
    """Return the lease, or None if there is none. A damaged one is one that nobody renews."""
    try:
        content = location.read(LEASE_FILE)
    except FileNotFoundError:
        return None
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(content)
        if isinstance(found, dict) and isinstance(found.get("driver"), str):
            return found
    return {"driver": "", "beat": content.hex()}
