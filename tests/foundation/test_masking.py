"""Passwords, keys and signatures are masked, however the URL that holds them is written."""

import json
import time
from pathlib import Path

import pytest

from magray.cli.doctor import examine
from magray.config import load_config
from magray.errors import UserError
from magray.masking import mask
from magray.runtime.events import EventLog

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"

SHOWN = {
    "http://u:hush@h:1/x": "http://***@h:1/x",
    "http://u:hu/sh@h/x": "http://***@h/x",
    "http://u:hu?#s@h@h/x": "http://***@h/x",
    "//hush@h": "//***@h",
    "u:hush@h:9000": "***@h:9000",
    "hush@h:6379": "***@h:6379",
    "RAY_ADDRESS=u:hush@h:1, and http://v:hush@h": "RAY_ADDRESS=***@h:1, and http://***@h",
    "no cluster at 'u:hush@h:1'": "no cluster at '***@h:1'",
    "s3://k:hush@bucket/films": "s3://***@bucket/films",
    "s3://b/x?access_key=hush&region=eu": "s3://b/x?access_key=***&region=eu",
    "s3://b/x?secret_key=hu/s+h==": "s3://b/x?secret_key=***",
    "s3://b?endpoint_override=http://u:hush@h": "s3://b?endpoint_override=http://***@h",
    "s3://b?endpoint_override=u:hush@h": "s3://b?endpoint_override=***@h",
    "s3://b?endpoint_override=http%3A%2F%2Fu%3Ahush%40h&region=eu": (
        "s3://b?endpoint_override=http%3A%2F%2F***@h&region=eu"
    ),
    "s3://b?e=http%253A%252F%252Fu%253Ahush%2540h": "s3://b?e=http%253A%252F%252F***@h",
    "s3://b?e=http%3A%2F%2Fh%3Fsession%5Ftoken%3Dhush%26a%3D1": (
        "s3://b?e=http%3A%2F%2Fh%3Fsession%5Ftoken%3D***%26a%3D1"
    ),
    "http://h/x?X-Amz-Credential=hush%2Fx&X-Amz-Signature=hush&a=1": (
        "http://h/x?X-Amz-Credential=***&X-Amz-Signature=***&a=1"
    ),
    "https://h?sig=hush": "https://h?sig=***",
    "not {'access_key': 'hush'}": "not {'access_key': '***'}",
}
PLAIN = [
    "films@2x.png: no such file",
    "/data/films@2024/run:1@2",
    "s3://bucket/a:b@c?region=eu&scheme=http&endpoint_override=http://h:9000",
    "check RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or ~/.ray/auth_token",
    "this machine's token: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "no Ray cluster answers at [::1]:6379: refused",
    "--set campaign.films=12",
]


@pytest.mark.parametrize(("text", "shown"), SHOWN.items())
def test_credentials_are_masked_and_the_rest_stays(text: str, shown: str) -> None:
    assert mask(text) == shown
    assert mask(shown) == shown
    assert str(UserError(f"no answer from {text}")) == f"no answer from {shown}"


@pytest.mark.parametrize("text", PLAIN)
def test_texts_without_credentials_are_unchanged(text: str) -> None:
    assert mask(text) == text


def test_masking_a_long_text_takes_no_time() -> None:
    start = time.perf_counter()
    for part in ("a:", "://", "%25", "token", "x", "-", "://a:", "%2F", "u:@"):
        mask(part * 20_000)
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize("uri", [text for text in SHOWN if text.startswith("s3://")])
def test_a_config_with_credentials_is_refused_since_it_is_kept(uri: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds credentials.*environment") as refused:
        load_config(QUICKSTART, [f"output={tmp_path / 'run'}", f"simulate.store={uri}"])
    assert "hush" not in str(refused.value)


def test_the_log_of_a_campaign_holds_no_password(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = EventLog(tmp_path / "simulate.jsonl")
    events.notify("u:hush@h:1 is silent")
    events.write("begun", store="s3://b/x?secret_key=hush", films=2)
    lines = [json.loads(line) for line in (tmp_path / "simulate.jsonl").read_text().splitlines()]
    assert [lines[0]["text"], lines[1]["store"], lines[1]["films"]] == [
        "***@h:1 is silent",
        "s3://b/x?secret_key=***",
        2,
    ]
    assert "hush" not in capsys.readouterr().err


@pytest.mark.parametrize("setting", ["RAY_ADDRESS", "AWS_ENDPOINT_URL"])
@pytest.mark.parametrize("url", ["u:hush@h:1", "hush@h", "http://u:hu/sh@h", "https://h/x?X-Amz-Signature=hush"])
def test_the_doctor_shows_no_password(setting: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(setting, url)
    said = " ".join(finding.detail for finding in examine(tmp_path))
    assert "***" in said
    assert "sh@" not in said
    assert "hush" not in said
