"""`magray serve` as one person runs it: in one process, on loopback."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magray.errors import UserError
from magray.project.estimate import Question, answer
from tests.support.http_service import ask, ask_form, needs_serve, served_by_command
from tests.support.stripes import labyrinth

pytestmark = needs_serve
FILM = {"Ms": "1.0 ± 0.05 MA/m", "Keff": "0.2 ± 0.02 MJ/m3", "thickness": "2 nm ± 5 %"}


def test_the_command_serves_the_page_and_the_answers_of_the_command_line_until_it_is_ended(tmp_path: Path) -> None:
    from magray.serve.local import run

    picture = tmp_path / "a.png"
    Image.fromarray(np.uint8(127.5 * (labyrinth(20, side=128) + 1))).save(picture)
    expected = answer(Question([picture], "co-like", pixel_nm=8.0)).to_json()
    with served_by_command("127.0.0.1", tmp_path) as (url, port):
        assert b"Drop, paste or choose pictures" in ask(url).body
        assert ask(f"{url}/v1/health", Host="films.example").status == 403
        told = ask_form(
            f"{url}/v1/estimate", [("a.png", picture.read_bytes())], estimator="co-like", pixel_nm=8, force=1
        )
        assert told.record == expected
        assert ask_form(f"{url}/v1/estimate", [("a.png", b"")], pixel_nm=8).status == 422
        torn = ask(f"{url}/v1/estimate", b"--aaaa-", Content_Type="multipart/form-data; boundary=aaaaaaaa")
        assert torn.status == 400
        simulated = ask_form(f"{url}/v1/resimulate", [("a.png", picture.read_bytes())], estimator="co-like", pixel_nm=8)
        assert "co-like knows no constants to simulate" in simulated.record["detail"]
        drawn = ask_form(f"{url}/v1/resimulate", [("a.png", picture.read_bytes())], pixel_nm=8, **FILM)
        assert drawn.kind == "application/x-ndjson"
        assert drawn.record["answer"]["trust"] == "refused", "no film looks so; nothing is simulated"
        too_large = (bytes(2**20) for _ in range(65))
        assert ask(f"{url}/v1/estimate", too_large, Content_Type="application/json").status == 413
        with pytest.raises(UserError, match=f"127.0.0.1:{port} cannot be listened on: Address already in use"):
            run("127.0.0.1", port, None, print)
