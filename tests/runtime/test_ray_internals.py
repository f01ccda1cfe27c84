"""Ray still has the internals that magray relies on, with the meaning that it relies on."""

import re
from pathlib import Path

import pytest
from ray._private import ray_constants, services
from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]  # compiled

from magray.runtime.ray_internals import forget_token, listen_on_loopback

PACKAGE = Path(__file__).parents[2] / "magray"


def test_a_local_ray_listens_on_loopback_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself makes the address of a node, from the constant that is set."""
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", True)
    listen_on_loopback()
    assert services.resolve_ip_for_localhost("192.0.2.1") == "127.0.0.1"
    assert ray_constants.env_bool(ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, default=True) is False


def test_a_token_of_another_cluster_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    token = tmp_path / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    found = []
    for text in ("1" * 64, "2" * 64):
        token.write_text(text)
        forget_token()
        found.append(AuthenticationTokenLoader.instance().get_raw_token())
    forget_token()
    assert found == ["1" * 64, "2" * 64]


def test_one_module_uses_what_ray_keeps_private() -> None:
    private = re.compile(r"\bray\._\w+")
    users = {path.name for path in PACKAGE.rglob("*.py") if private.search(path.read_text(encoding="utf-8"))}
    assert users == {"ray_internals.py"}
