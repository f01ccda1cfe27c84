"""Drive Chromium over its DevTools protocol."""

import base64
import json
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection

from tests.support.browser import NAMES, QUIET
from tests.support.tab import PATIENCE, Place, Tab, installed, started


class ChromiumTab(Tab):
    """The only tab of Chromium."""

    def __init__(self, connection: ClientConnection, downloads: Path) -> None:
        super().__init__(connection, downloads)
        for domain in ("Page", "Runtime", "DOM", "Log"):
            self.call(f"{domain}.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def note(self, message: dict[str, Any]) -> None:
        """Keep the error that a message of the browser reports, if it does."""
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(message["params"]["exceptionDetails"]))
        if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["source"] != "network":
            self.errors.append(message["params"]["entry"]["text"])

    def open(self, url: str, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a page in a window of this size."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call(
            "Emulation.setEmulatedMedia", features=[scheme, {"name": "prefers-reduced-motion", "value": "reduce"}]
        )
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """Return the value of an expression, awaited if it is a promise."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def insert(self, text: str) -> None:
        """Type into the field that has the focus."""
        self.call("Input.insertText", text=text)

    def key(self, key: str, code: int) -> None:
        """Press a key and let it go."""
        text = "\r" if key == "Enter" else ""
        parameters = {"key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}
        self.call("Input.dispatchKeyEvent", type="keyDown", **parameters)
        self.call("Input.dispatchKeyEvent", type="keyUp", **parameters)

    def move_pressed(self, start: Place, end: Place) -> None:
        """Press the mouse at one place of the window, pixels, and let it go at another."""
        for kind, (x, y), buttons in (("mousePressed", start, 1), ("mouseMoved", end, 1), ("mouseReleased", end, 0)):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=buttons, clickCount=1)

    def drop(self, files: Sequence[Path]) -> None:
        """Drop files on the page as a file manager does."""
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=300, y=300, data=data)

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def chromium(folder: Path) -> Iterator[ChromiumTab]:
    """Start a browser with an empty profile in a folder. Skips the test where there is none."""
    browser = installed(NAMES, "no chromium on this machine: the page was not looked at in a browser")
    profile, downloads = folder / "profile", folder / "downloads"
    downloads.mkdir()
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", *QUIET, f"--user-data-dir={profile}"]
    command += ["--remote-debugging-port=0", "about:blank"]
    with started(command, profile / "DevToolsActivePort", _first_tab) as connection:
        yield ChromiumTab(connection, downloads)


def _first_tab(told: str) -> str:
    """Return the address of the browser's first tab; "" until it has one."""
    if not told.split():
        return ""
    with urllib.request.urlopen(f"http://127.0.0.1:{told.split()[0]}/json/list", timeout=PATIENCE) as answer:
        pages = [one for one in json.load(answer) if one["type"] == "page"]
    return str(pages[0]["webSocketDebuggerUrl"]) if pages else ""
