"""`magray serve` for a group: on Ray Serve, behind a token."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magray.errors import UserError
from magray.project.estimate import Question, answer
from tests.support.http_service import ask, form, needs_serve
from tests.support.stripes import labyrinth

pytestmark = needs_serve
HOST = "127.0.0.2"  # not one of the names of loopback that do without a token, and yet nobody else reaches it
TOKEN = "0123456789abcdef"


def test_the_command_answers_a_group_behind_a_token_until_it_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from magray.serve.service import start

    monkeypatch.setenv("MAGRAY_SERVE_TOKEN", TOKEN)
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    picture = tmp_path / "a.png"
    Image.fromarray(np.uint8(127.5 * (labyrinth(20, side=128) + 1))).save(picture)
    expected = answer(Question([picture], "co-like", pixel_nm=8.0)).to_json()
    command = [sys.executable, "-m", "magray", "serve", "--no-browser", "--host", HOST, "--port", str(port)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(rf"(http://{re.escape(HOST)}:{port})/ ", line)
        assert found, line + process.communicate()[1]
        url, bearer = found[1], f"Bearer {TOKEN}"
        assert ask(url).status == 401
        assert b"Drop, paste or choose pictures" in ask(url, Authorization=bearer).body
        body, kind = form([("a.png", picture.read_bytes())], {"estimator": "co-like", "pixel_nm": 8, "force": 1})
        assert ask(f"{url}/v1/estimate", body, Content_Type=kind).status == 401
        assert ask(f"{url}/v1/estimate", body, Content_Type=kind, Authorization=bearer).record == expected
        with pytest.raises(UserError, match=f"{HOST}:{port} cannot be listened on: Address already in use"):
            start(HOST, port)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors.strip() == "ended"
    with socket.socket() as again:
        assert again.connect_ex((HOST, port)) != 0
