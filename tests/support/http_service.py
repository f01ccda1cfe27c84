"""The HTTP service on an ASGI server of its own or as `magray serve` runs it, and requests to it."""

import importlib.util
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

WITHOUT = "magray[serve] is not installed: the page and the service were not tried"
needs_serve = pytest.mark.skipif(importlib.util.find_spec("python_multipart") is None, reason=WITHOUT)
PATIENCE = 120.0  # seconds


class Answer(NamedTuple):
    """The status, the type and the body of an answer."""

    status: int
    kind: str
    body: bytes

    @property
    def record(self) -> dict[str, Any]:
        """Return the body as JSON."""
        found: dict[str, Any] = json.loads(self.body)
        return found


@contextmanager
def served(token: str | None = None) -> Iterator[str]:
    """Serve on a free port of this machine, and give the URL."""
    import uvicorn

    from magray.serve.app import make_app

    server = uvicorn.Server(uvicorn.Config(make_app(token, threads=2), host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + PATIENCE
    while not server.started:
        assert thread.is_alive(), "the server does not start"
        assert time.monotonic() < end, "the server does not start"
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(PATIENCE)


@contextmanager
def served_by_command(host: str, folder: Path) -> Iterator[tuple[str, int]]:
    """Run `magray serve` as people do, and give its URL and port. It must end when it is told to, and say only that.

    folder: for its temporary files.
    """
    with socket.socket() as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "magray", "serve", "--no-browser", "--host", host, "--port", str(port)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "TMPDIR": str(folder)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(rf"(http://{re.escape(host)}:{port})/ ", line)
        assert found, line + process.communicate()[1]
        try:
            yield found[1], port
        except BaseException:
            process.kill()  # for which Popen would wait
            raise
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors.strip() == "ended"
    with socket.socket() as again:
        assert again.connect_ex((host, port)) != 0


def ask(url: str, body: bytes | Iterator[bytes] | None = None, **headers: str) -> Answer:
    """Return the answer to a request; headers are written with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, named)  # an iterator is sent in chunks
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return Answer(answer.status, answer.headers.get_content_type(), answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers.get_content_type(), error.read())


def form(pictures: Sequence[tuple[str, bytes]], options: Mapping[str, object]) -> tuple[bytes, str]:
    """Return the body and the type of a form."""
    boundary = secrets.token_hex(8)
    parts = [(f'name="{name}"', str(value).encode()) for name, value in options.items()]
    parts += [(f'name="picture"; filename="{name}"', data) for name, data in pictures]
    lines = [
        f"--{boundary}\r\nContent-Disposition: form-data; {what}\r\n\r\n".encode() + data + b"\r\n"
        for what, data in parts
    ]
    return b"".join([*lines, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def ask_form(url: str, pictures: Sequence[tuple[str, bytes]], **options: object) -> Answer:
    """Return the answer to a form."""
    body, kind = form(pictures, options)
    return ask(url, body, Content_Type=kind)
