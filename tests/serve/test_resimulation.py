"""Films are simulated by a process of its own, for one request at a time, and as long as somebody waits for them."""

import http.client
import json
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.serve.test_service import FILM, png
from tests.support.http_service import PATIENCE, Answer, ask, ask_form, form, needs_serve, served
from tests.support.no_domains import no_domains

pytestmark = needs_serve
SAYS = 'import sys; print(\'{"expected": "about 60 s"}\', flush=True); '
WAITS = SAYS + "sys.stdin.readline(); sys.stdin.read()"  # until nobody wants the answer any more
ANSWERS = SAYS + 'print(\'{"answer": {"trust": "trusted"}}\')'
PROBLEM = 'print(\'{"problem": "Ms: 3 has no unit"}\')'


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """Return the URL of a service without a token."""
    with served() as url:
        yield url


def simulated_by(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a script of Python take the place of the simulation."""
    monkeypatch.setattr("magray.serve.resimulation.COMMAND", (sys.executable, "-S", "-c", script))


def asked(service: str) -> Answer:
    return ask_form(f"{service}/v1/resimulate", [("a.png", b"a")], pixel_nm=4)


def lines(answer: Answer) -> list[dict[str, object]]:
    assert answer.kind == "application/x-ndjson"
    return [json.loads(line) for line in answer.body.splitlines()]


def test_the_time_is_told_before_the_answer(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    simulated_by(ANSWERS, monkeypatch)
    assert lines(asked(service)) == [{"expected": "about 60 s"}, {"answer": {"trust": "trusted"}}]


def test_a_second_request_is_refused_until_the_first_one_goes_away(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated_by(WAITS, monkeypatch)
    body, kind = form([("a.png", b"a")], {"pixel_nm": 4})
    first = http.client.HTTPConnection(urlsplit(service).netloc, timeout=PATIENCE)
    first.request("POST", "/v1/resimulate", body, {"Content-Type": kind})
    assert json.loads(first.getresponse().readline()) == {"expected": "about 60 s"}
    busy = asked(service)
    assert (busy.status, busy.kind) == (429, "application/problem+json")
    assert "simulated for another request" in busy.record["detail"]
    assert ask(f"{service}/v1/health").status == 200
    first.close()
    simulated_by(ANSWERS, monkeypatch)
    end = time.monotonic() + PATIENCE
    while (again := asked(service)).status == 429:
        assert time.monotonic() < end, "the place is never free again"
        time.sleep(0.1)
    assert len(lines(again)) == 2


def test_what_takes_too_long_is_stopped(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    simulated_by(WAITS, monkeypatch)
    monkeypatch.setattr("magray.serve.resimulation.SECONDS", 2.0)
    assert "run magray estimate --resimulate" in str(asked(service).body)


def test_a_process_that_dies_is_no_answer(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    simulated_by(SAYS, monkeypatch)
    assert lines(asked(service))[-1] == {
        "problem": "the simulation ended without an answer; the log of the service says more"
    }


def test_what_cannot_be_used_is_a_problem_before_anything_is_simulated(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated_by(PROBLEM, monkeypatch)
    found = asked(service)
    assert (found.status, found.record["detail"]) == (422, "Ms: 3 has no unit")
    assert ask_form(f"{service}/v1/resimulate", [("a.png", b"a")], pixels=4).status == 422


def test_of_a_refused_answer_no_film_is_simulated(service: str) -> None:
    """The real process: it reads a picture that is on no disk, and answers as the service does."""
    noise = png(np.asarray(no_domains()["white noise"])[:128, :128] * 2 - 1)
    options = {"pixel_nm": 4, **FILM}
    (line,) = lines(ask_form(f"{service}/v1/resimulate", [("a.png", noise)], **options))
    assert line == {"answer": ask_form(f"{service}/v1/estimate", [("a.png", noise)], **options).record}


def test_the_token_stands_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with served("0123456789abcdef-token") as url:
        assert asked(url).status == 401
