"""`magray serve` for a group: on Ray Serve, behind a token."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magray.errors import UserError
from magray.project.estimate import Question, answer
from tests.support.http_service import ask, form, needs_serve, served_by_command
from tests.support.stripes import labyrinth

pytestmark = needs_serve
HOST = "127.0.0.2"  # not one of the names of loopback that do without a token, and yet nobody else reaches it
TOKEN = "0123456789abcdef"


def test_the_command_answers_a_group_behind_a_token_until_it_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from magray.serve.service import start

    monkeypatch.setenv("MAGRAY_SERVE_TOKEN", TOKEN)
    picture = tmp_path / "a.png"
    Image.fromarray(np.uint8(127.5 * (labyrinth(20, side=128) + 1))).save(picture)
    expected = answer(Question([picture], "co-like", pixel_nm=8.0)).to_json()
    with served_by_command(HOST, tmp_path) as (url, port):
        bearer = f"Bearer {TOKEN}"
        assert ask(url).status == 401
        assert b"Drop, paste or choose pictures" in ask(url, Authorization=bearer).body
        body, kind = form([("a.png", picture.read_bytes())], {"estimator": "co-like", "pixel_nm": 8, "force": 1})
        assert ask(f"{url}/v1/estimate", body, Content_Type=kind).status == 401
        assert ask(f"{url}/v1/estimate", body, Content_Type=kind, Authorization=bearer).record == expected
        with pytest.raises(UserError, match=f"{HOST}:{port} cannot be listened on: Address already in use"):
            start(HOST, port)
