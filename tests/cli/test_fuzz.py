"""Run a short form of `make fuzz`, with some inputs of each kind."""

import sys
from pathlib import Path

import pytest

from magray.cli import app as cli
from tests.fuzz.cases import Case
from tests.fuzz.contract import broken
from tests.fuzz.damage import CANARY
from tests.fuzz.workers import attack


def test_hostile_files_end_in_one_line_and_do_no_harm() -> None:
    """Seeds are fixed, so that the same code sees the same inputs."""
    results = attack(inputs=80, seconds=120, first_seed=0, workers=1)
    assert sum(results.tried.values()) > 74
    assert [(found.case.arguments, found.promise) for found in results.findings.values()] == []


def test_broken_promises_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that leaves things, runs code and says two lines keeps none of them."""

    def misbehave() -> None:
        for name in (".x.unfinished", "../outside", CANARY):
            Path(name).mkdir()
        Path("out.json").write_text("{")
        print("one\ntwo", file=sys.stderr)
        sys.exit(2)

    monkeypatch.setattr(cli, "main", misbehave)
    said = broken(Case("plan", {}, ("plan", "config.yaml")), tmp_path / "box")
    assert [promise.partition(":")[0] for promise in said] == [
        "2 lines on stderr",
        "code of the input was run",
        "written outside of its folder",
        "left over",
        "half-written",
    ]
