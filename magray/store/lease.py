"""One driver at a time: the lease that a campaign's driver has on its store.

    <store>/_driver.json   which driver has it, and a number that rises every BEAT seconds while it lives

Nobody's clock is trusted. Who finds a lease watches it for longer than a beat: if the number rises, its driver lives.
Two that begin at once both write, wait, and look who wrote last. Should a driver lose its lease all the same, because
it was frozen for long, nothing breaks: the same films always go to the same files.
"""

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from magray.errors import UserError
from magray.store.location import Location
from magray.store.store import LEASE_FILE

BEAT = 2.0  # seconds
PATIENCE = 3 * BEAT
SETTLE = 0.3


@contextlib.contextmanager
def lease(location: Location, notify: Callable[[str], None]) -> Iterator[None]:
    """Has the store's lease while the context lasts. Raises UserError if another driver has it and lives.

    tell: says to the user that a dead driver's lease was taken over, or that the store stopped answering.
    """
    driver = uuid.uuid4().hex
    if _wait_until_free(location):
        notify("the driver before this one is dead; going on from what it left")
    _write(location, driver, 0)
    time.sleep(SETTLE)
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
        with contextlib.suppress(UserError):  # a server that is away: what ended the campaign says so already
            if (holder := _read(location)) is not None and holder["driver"] == driver:
                location.remove(LEASE_FILE)


def _wait_until_free(location: Location) -> bool:
    """Returns whether there was a dead driver's lease. Raises UserError if its driver lives."""
    found = _read(location)
    if found is None:
        return False
    end = time.monotonic() + PATIENCE
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
    """The lease, None if there is none. One that is no JSON is one that nobody renews."""
    try:
        content = location.read(LEASE_FILE)
    except FileNotFoundError:
        return None
    try:
        return dict(json.loads(content))
    except ValueError:
        return {"driver": "", "beat": content.hex()}
