"""A tab of a real browser: open a page, run scripts, move the mouse, drop files. Each browser has its own way of it."""

import itertools
import json
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

PATIENCE = 180.0  # seconds, on a machine that does other things
Place = tuple[float, float]


class Tab(ABC):
    """The only tab of a browser, which is told what to do in JSON; errors of its page are kept."""

    def __init__(self, connection: ClientConnection, downloads: Path) -> None:
        self.connection, self.downloads, self.numbers = connection, downloads, itertools.count(1)
        self.errors: list[str] = []

    def call(self, method: str, **parameters: Any) -> Any:
        """Return what the browser answers to a command; what it reports meanwhile of errors is kept."""
        number = next(self.numbers)
        self.connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.connection.recv(PATIENCE))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self.note(message)

    @abstractmethod
    def note(self, message: dict[str, Any]) -> None:
        """Keep the error that a message of the browser reports, if it does."""

    @abstractmethod
    def open(self, url: str, width: int = 1280, height: int = 900) -> None:
        """Open a page in a window of this size."""

    @abstractmethod
    def run(self, script: str) -> Any:
        """Return the value of an expression, awaited if it is a promise."""

    @abstractmethod
    def insert(self, text: str) -> None:
        """Type into the field that has the focus."""

    @abstractmethod
    def move_pressed(self, start: Place, end: Place) -> None:
        """Press the mouse at one place of the window, pixels, and let it go at another."""

    @abstractmethod
    def drop(self, files: Sequence[Path]) -> None:
        """Drop files on the page as a file manager does."""

    def wait(self, condition: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, f"never true: {condition}"
            time.sleep(0.1)

    def text(self, selector: str) -> str:
        """Return the text of an element as it is shown."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def type(self, selector: str, text: str) -> None:
        """Put the focus on a field and type into it."""
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.insert(text)

    def choose(self, selector: str, value: str) -> None:
        """Choose a value of a select."""
        chosen = f"const one = document.querySelector({json.dumps(selector)}); one.value = {json.dumps(value)};"
        self.run(
            f"(() => {{ {chosen} one.dispatchEvent(new Event('change', {{bubbles: true}})); "
            "one.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )

    def click(self, selector: str) -> None:
        """Click on the middle of an element with the mouse."""
        self.drag(selector, (0.5, 0.5), (0.5, 0.5))

    def drag(self, selector: str, start: Place, end: Place) -> None:
        """Drag the mouse from one place of an element to another, as fractions of its width and height."""
        one = f"document.querySelector({json.dumps(selector)})"
        box = self.run(f"({one}.scrollIntoView({{block: 'center'}}), {one}.getBoundingClientRect().toJSON())")
        first, last = ((box["x"] + fx * box["width"], box["y"] + fy * box["height"]) for fx, fy in (start, end))
        self.move_pressed(first, last)

    def downloaded(self, name: str) -> Path:
        """Return a file that the page has offered, when it is there."""
        file, end = self.downloads / name, time.monotonic() + PATIENCE
        while not (file.exists() and file.stat().st_size):  # Firefox begins with an empty one, and then replaces it
            assert time.monotonic() < end, f"{name} was not downloaded"
            time.sleep(0.1)
        return file


def installed(names: Sequence[str], otherwise: str) -> str:
    """Return the path of a browser of one of these names. Skips the test where there is none."""
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip(otherwise)
    return browser


@contextmanager
def started(command: Sequence[str], file: Path, address_of: Callable[[str], str]) -> Iterator[ClientConnection]:
    """Start a browser, and connect to the address that the text of a file of its profile tells, once it does."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + PATIENCE
            while not (file.exists() and (address := address_of(file.read_text()))):
                assert process.poll() is None, "the browser has ended"
                assert time.monotonic() < end, "the browser does not start"
                time.sleep(0.1)
            with connect(address, max_size=None, proxy=None) as connection:
                yield connection
        finally:
            process.kill()
