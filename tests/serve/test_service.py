"""The HTTP service answers as the command line does, says what is wrong in its sentences, and keeps nothing."""

import base64
import io
import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from magray.errors import UserError
from magray.project.estimate import Question, answer
from tests.support.http_service import ask, ask_form, needs_serve, served
from tests.support.no_domains import no_domains
from tests.support.stripes import labyrinth

pytestmark = needs_serve
FILM = {"Ms": "1.0 ± 0.05 MA/m", "Keff": "0.2 ± 0.02 MJ/m3", "thickness": "2 nm ± 5 %"}


def png(grey: "np.ndarray[Any, Any]") -> bytes:
    """Return a picture (h, w) of values from -1 to 1 as a PNG."""
    file = io.BytesIO()
    Image.fromarray(np.uint8(127.5 * (np.clip(grey, -1, 1) + 1))).save(file, "PNG")
    return file.getvalue()


DOMAINS = png(labyrinth(20, side=128))
NOISE = png(np.asarray(no_domains()["white noise"])[:128, :128] * 2 - 1)


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """Return the URL of a service without a token."""
    with served() as url:
        yield url


def test_the_answer_is_that_of_the_command(service: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(DOMAINS)
    expected = answer(Question([tmp_path / "a.png"], known=FILM, pixel_nm=4.0)).to_json()
    found = ask_form(f"{service}/v1/estimate", [("a.png", DOMAINS)], pixel_nm=4, force="true", **FILM)
    assert found.status == 200
    assert found.record == expected


def test_requests_at_once_have_the_answers_that_they_have_one_by_one(service: str) -> None:
    """Half of them cannot be read, or show nothing."""
    pictures = [png(labyrinth(period, side=128)) for period in (14, 18, 22)] + [NOISE, DOMAINS[:300], b"GIF89a"]

    def asked(picture: bytes) -> tuple[int, bytes]:
        found = ask_form(f"{service}/v1/estimate", [("a.png", picture)], pixel_nm=4, **FILM)
        return found.status, found.body

    one_by_one = list(map(asked, pictures))
    with ThreadPoolExecutor(len(pictures)) as at_once:
        for _ in range(3):
            assert list(at_once.map(asked, pictures)) == one_by_one
    assert [status for status, _ in one_by_one] == [200, 200, 200, 200, 422, 422]


def test_json_says_the_same_as_a_form(service: str) -> None:
    picture = {"name": "a.png", "data": base64.b64encode(DOMAINS).decode()}
    told = {"pictures": [picture], "estimator": "co-like", "scale_um": 1.0}
    by_json = ask(f"{service}/v1/estimate", json.dumps(told).encode(), Content_Type="application/json")
    by_form = ask_form(f"{service}/v1/estimate", [("a.png", DOMAINS)], estimator="co-like", scale_um=1.0)
    assert by_json.record == by_form.record
    assert by_json.record["trust"] in ("trusted", "doubtful", "refused")


def test_a_refused_answer_has_reasons_and_no_values_unless_they_are_forced(service: str) -> None:
    """As exit code 3 and --force of the command."""
    found = ask_form(f"{service}/v1/estimate", [("a.png", NOISE)], pixel_nm=4, **FILM)
    assert found.status == 200
    assert found.record["trust"] == "refused"
    assert found.record["parameters"] == {}
    assert "does not look like domains" in found.record["reasons"][0]
    forced = ask_form(f"{service}/v1/estimate", [("a.png", NOISE)], pixel_nm=4, force="true", draws=50, **FILM)
    assert forced.record["trust"] == "refused"
    assert len(forced.record["draws"]["D"]) == 50
    assert forced.record["parameters"]["D"]["unit"] == "J/m2"


def test_the_size_of_a_pixel_comes_from_the_file_and_the_name_from_the_sender(service: str) -> None:
    file = io.BytesIO()
    grey = labyrinth(20, side=128)
    tifffile.imwrite(file, grey, imagej=True, resolution=(125, 125), metadata={"unit": "micron"})
    seen = ask_form(f"{service}/v1/picture", [("../../a.tif", file.getvalue())])
    assert seen.record["pixel_nm"] == pytest.approx([8, 8])
    assert seen.record["seen"].startswith("data:image/png;base64,")
    wrong = ask_form(f"{service}/v1/estimate", [("../../<b>a.tif", file.getvalue())], pixel_nm=20, **FILM)
    assert wrong.status == 422
    assert wrong.record["detail"].startswith("<b>a.tif: by --pixel-nm, its pixels are 20 nm, but the file says 8 nm")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pixel_nm": "a"}, "pixel_nm: give a number, not 'a'"),
        ({"pixel_nm": "nan"}, "pixel_nm: give a finite number, not 'nan'"),
        ({"pixel_nm": 4, "Ms": "3"}, "Ms: 3 has no unit; write for example 1500 kA/m"),
        ({"pixel_nm": 4, "pixels": 4}, "pixels is not an option; there are channel, crop"),
        ({"pixel_nm": 4, "estimator": "/etc"}, "there is no estimator of this name here"),
        ({"pixel_nm": 4, "crop": "1,2"}, "--crop: give four whole numbers"),
        ({"pixel_nm": 4, "crop": "0,0,500,500"}, "a.png: the crop"),
        ({}, "a.png: give the size of the picture"),
    ],
)
def test_what_cannot_be_used_is_a_problem_in_the_words_of_the_command(
    service: str, options: dict[str, object], said: str
) -> None:
    found = ask_form(f"{service}/v1/estimate", [("a.png", DOMAINS)], **options)
    assert (found.status, found.kind) == (422, "application/problem+json")
    assert found.record["detail"].startswith(said)


def test_damaged_large_and_foreign_requests_are_400_413_and_415(service: str) -> None:
    url = f"{service}/v1/estimate"
    assert ask(url, b"[", Content_Type="application/json").status == 400
    assert ask(url, b'{"pictures": [{"data": "*"}]}', Content_Type="application/json").status == 400
    assert ask(url, b"--x", Content_Type="multipart/form-data").status == 400
    assert ask(url, b"a", Content_Type="text/plain").status == 415
    assert ask(url).status == 405
    assert ask(f"{service}/v2").status == 404


def test_nothing_of_a_picture_is_written_to_a_disk(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parsers of forms move files of more than 1 MB into the temporary folder."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    grey = np.random.default_rng(0).integers(0, 255, (1500, 1500), np.uint8)
    file = io.BytesIO()
    tifffile.imwrite(file, grey)
    assert len(file.getvalue()) > 2**21
    assert ask_form(f"{service}/v1/picture", [("a.tif", file.getvalue())], clean="none").status == 200


def test_the_description_names_every_option(service: str) -> None:
    described = ask(f"{service}/openapi.json").record
    content = described["paths"]["/v1/estimate"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json"}
    for schema in (one["schema"]["properties"] for one in content.values()):
        assert {"pixel_nm", "Ms", "history", "force"} <= set(schema)


def test_health_and_page_are_served_with_a_policy_without_inline_scripts(service: str) -> None:
    assert ask(f"{service}/v1/health").record["status"] == "ok"
    page = ask(service).body.decode()
    assert "<script>" not in page
    assert " style=" not in page
    assert " onclick" not in page


def test_options_are_those_of_the_command() -> None:
    from magray.cli.estimate import estimate
    from magray.serve.requests import EstimateRequest, request_of

    command = set(estimate.__annotations__)
    assert set(EstimateRequest.model_fields) - command == {"draws", "nearest"}
    with pytest.raises(UserError, match="force: give true or false, not 'perhaps'"):
        request_of(EstimateRequest, {"force": "perhaps"})
