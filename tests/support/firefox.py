"""Drive Firefox over WebDriver BiDi, which it speaks by itself."""

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection

from tests.support.tab import Place, Tab, installed, started

NAMES = ("firefox", "firefox-esr")
DROP = """(files => {
  const data = new DataTransfer();
  for (const [name, bytes] of files) {
    data.items.add(new File([Uint8Array.from(atob(bytes), one => one.charCodeAt())], name));
  }
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
  }
})"""


class FirefoxTab(Tab):
    """The only tab of Firefox."""

    def __init__(self, connection: ClientConnection, downloads: Path) -> None:
        super().__init__(connection, downloads)
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])
        self.context = self.call("browsingContext.getTree")["contexts"][0]["context"]

    def note(self, message: dict[str, Any]) -> None:
        """Keep the error that a message of the browser reports, if it does."""
        if message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
            self.errors.append(message["params"]["text"])

    def open(self, url: str, width: int = 1280, height: int = 900) -> None:
        """Open a page in a window of this size."""
        size = {"width": width, "height": height}
        self.call("browsingContext.setViewport", context=self.context, viewport=size)
        self.call("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def run(self, script: str) -> Any:
        """Return the value of an expression, awaited if it is a promise."""
        as_text = f"Promise.resolve({script}).then(JSON.stringify)"
        place = {"context": self.context}
        found = self.call("script.evaluate", expression=as_text, target=place, awaitPromise=True, userActivation=True)
        assert found["type"] == "success", found
        return json.loads(found["result"].get("value", "null"))

    def insert(self, text: str) -> None:
        """Type into the field that has the focus."""
        keys = [{"type": kind, "value": letter} for letter in text for kind in ("keyDown", "keyUp")]
        self._act({"type": "key", "id": "keyboard", "actions": keys})

    def move_pressed(self, start: Place, end: Place) -> None:
        """Press the mouse at one place of the window, pixels, and let it go at another."""
        there, further = ({"type": "pointerMove", "x": x, "y": y} for x, y in (start, end))
        down, up = ({"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp"))
        self._act({"type": "pointer", "id": "mouse", "actions": [there, down, further, up]})

    def drop(self, files: Sequence[Path]) -> None:
        """Drop files on the page, by a script: BiDi has no file manager."""
        told = [(file.name, base64.b64encode(file.read_bytes()).decode()) for file in files]
        self.run(f"{DROP}({json.dumps(told)})")

    def _act(self, source: dict[str, Any]) -> None:
        self.call("input.performActions", context=self.context, actions=[source])


@contextmanager
def firefox(folder: Path) -> Iterator[FirefoxTab]:
    """Start a browser with an empty profile in a folder. Skips the test where there is none."""
    browser = installed(NAMES, "no firefox on this machine: the page was not looked at in it")
    profile, downloads = folder / "profile", folder / "downloads"
    profile.mkdir()
    downloads.mkdir()
    settings = {"browser.download.dir": str(downloads), "browser.download.folderList": 2, "ui.prefersReducedMotion": 1}
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in settings.items())
    (profile / "user.js").write_text("\n".join(lines))
    command = [browser, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"]
    with started(command, profile / "WebDriverBiDiServer.json", _session) as connection:
        yield FirefoxTab(connection, downloads)


def _session(told: str) -> str:
    """Return the address at which the browser starts a session; "" until it is told."""
    server = json.loads(told or "null")
    return f"ws://{server['ws_host']}:{server['ws_port']}/session" if server else ""
