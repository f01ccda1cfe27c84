"""The token stands before everything, and without one only this machine's own pages are answered."""

import base64

import pytest

from magray.errors import UserError
from tests.support.http_service import ask, needs_serve, served

pytestmark = needs_serve
TOKEN = "0123456789abcdef-token"


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        (f"Bearer {TOKEN}", None),
        (f"bearer {TOKEN}", None),
        (basic(TOKEN), None),
        (basic(TOKEN[:-1]), 401),
        (f"Bearer {TOKEN}x", 401),
        ("Bearer ", 401),
        ("Basic ***", 401),
        ("Bearer é", 401),
        (TOKEN, 401),
    ],
)
def test_who_shows_the_token_comes_in(authorization: str | None, status: int | None) -> None:
    from starlette.datastructures import Headers

    from magray.serve.guard import refusal

    headers = {"host": "films.example"} | ({} if authorization is None else {"authorization": authorization})
    found = refusal(Headers(headers), TOKEN)
    assert (None if found is None else found.status_code) == status


@pytest.mark.parametrize(
    ("host", "origin", "comes_in"),
    [
        ("localhost:8000", None, True),
        ("127.0.0.1:8000", "http://127.0.0.1:8000", True),
        ("[::1]:8000", None, True),
        ("films.example", None, False),  # its name means this machine now: DNS rebinding
        ("127.0.0.1.films.example", None, False),
        ("[", None, False),
        ("", None, False),
        ("localhost:8000", "http://films.example", False),
        ("localhost:8000", "null", False),
    ],
)
def test_without_a_token_only_this_machine_is_answered(host: str, origin: str | None, comes_in: bool) -> None:
    from starlette.datastructures import Headers

    from magray.serve.guard import refusal

    headers = {"host": host} | ({} if origin is None else {"origin": origin})
    found = refusal(Headers(headers), None)
    assert (found is None) == comes_in


def test_page_health_and_description_are_behind_the_token_too() -> None:
    with served(TOKEN) as url:
        for path in ("/", "/page.js", "/v1/health", "/v1/choices", "/openapi.json", "/nothing"):
            assert ask(f"{url}{path}").status == 401
        assert ask(f"{url}/v1/health", Authorization=f"Bearer {TOKEN}").status == 200


@pytest.mark.parametrize("token", [None, "", "short"])
def test_no_service_leaves_loopback_without_a_token(token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    from magray.serve.guard import token_for

    assert token_for("127.0.0.1") is None
    monkeypatch.delenv("MAGRAY_SERVE_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("MAGRAY_SERVE_TOKEN", token)
    with pytest.raises(UserError, match="set MAGRAY_SERVE_TOKEN to a secret of at least 16 characters"):
        token_for("0.0.0.0")
