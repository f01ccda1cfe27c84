"""The stages of a campaign without Ray."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from magray.campaign import progress
from magray.campaign.pipeline import blocks_of
from magray.campaign.progress import FilmProgress
from magray.campaign.simulator import Committer, FilmSimulator
from magray.films import plan_table
from magray.runtime import progress as bars
from magray.runtime.events import EventLog
from magray.runtime.progress import duration
from magray.store import create_store, verify
from tests.support.specimens import co_like
from tests.support.stores import wanting


def test_a_block_goes_from_plan_to_store(tmp_path: Path) -> None:
    plan = plan_table([co_like((16, 16), seed=seed) for seed in range(3)], "small")
    store = create_store(str(tmp_path / "store"), "small", plan)
    (block,) = blocks_of(wanting(plan, range(8)), 3)
    rows = FilmSimulator("cpu")(block)
    assert rows["film_id"].equals(plan["film_id"])
    results = Committer(store.uri)(rows)
    assert results["film_id"].equals(plan["film_id"])
    assert set(results["file"].to_pylist()) == set(store.files())
    assert verify(store, plan).ok


def test_blocks_are_cut_at_the_same_places_by_every_run() -> None:
    """A block that an interrupted run commits late then has the same file name as in the next run."""
    plan = plan_table([co_like((16, 16), seed=seed) for seed in range(8)], "small")
    whole = list(blocks_of(wanting(plan, range(8)), 3))
    assert [block.num_rows for block in whole] == [3, 3, 2]
    assert list(blocks_of(wanting(plan, range(3, 8)), 3)) == whole[1:]
    partly = list(blocks_of(wanting(plan, range(4, 7)), 3))
    assert [block["wanted"].to_pylist() for block in partly] == [[False, True, True], [True, False]]
    assert FilmSimulator("cpu")(partly[1])["film_id"].to_pylist() == [plan["film_id"][6].as_py()]


def block(*statuses: str, replaced: str = "") -> pa.Table:
    """Return the results of a commit of films with these statuses."""
    n = len(statuses)
    films = {"film_id": [f"film{i}" for i in range(n)], "status": list(statuses), "reason": ["why"] * n}
    numbers = {"evaluations": [100] * n, "seconds": [0.5] * n}
    return pa.table(
        films | numbers | {"simulator": ["here:1"] * n, "replaced": [replaced] * n, "file": ["films-0.parquet"] * n}
    )


def test_a_log_gets_occasional_lines_and_one_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    for module in (progress, bars):
        monkeypatch.setattr(module, "monotonic", lambda: now)
    with FilmProgress(30, 10, EventLog()) as films:
        now = 4.0
        films.add(block("converged", "converged"))
        now = 20.0
        films.add(block("converged", "failed", "not_converged"))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(
        "films 15 of 30, 0.25 films/s now, 0.25 overall, 1 min 00 s left, 1 not converged, 1 fail"
    )


def test_the_current_rate_is_that_of_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, *(10.0 * i for i in range(1, 20))])
    now = next(clock)
    monkeypatch.setattr(progress, "monotonic", lambda: now)
    films = FilmProgress(1000, 0, EventLog(show=False))
    for now in clock:
        films.add(block(*["converged"] * (1 if now < 100 else 2)))
    assert films.text.startswith("0.2 films/s now, 0.153 overall")


def test_an_interrupted_campaign_says_how_to_continue(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        with FilmProgress(30, 10, EventLog()) as films:
            films.add(block("converged"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    said = capsys.readouterr().err
    assert said == "stopped: 11 or more of 30 films are committed; run again for the rest\n"


def test_events_are_logged_with_the_ids_of_films(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A log has one JSON object per line; an existing log is appended to."""
    log = tmp_path / "simulate.jsonl"
    log.write_text('{"time": "before", "event": "ended"}\n')
    with FilmProgress(3, 0, EventLog(log)) as films:
        films.add(block("converged", "failed"))
        films.add(block("converged", replaced="here:1"))
        films.add(block("converged", replaced="here:1"))
    _, first, note, second, _, ended = (json.loads(line) for line in log.read_text().splitlines())
    assert (first["event"], first["films"], first["wrong"]) == (
        "committed",
        ["film0", "film1"],
        {"film1": "failed: why"},
    )
    assert (first["file"], first["evaluations"], first["seconds"]) == ("films-0.parquet", 200, 1.0)
    assert note["event"] == "note"
    assert note["text"] == "a process died, here:1 took its place; its unfinished films are simulated again"
    assert note["text"] in capsys.readouterr().err
    assert second["films"] == ["film0"]
    assert (ended["event"], ended["outcome"], ended["films"]) == ("ended", "done", 4)


@pytest.mark.parametrize(("seconds", "words"), [(41.6, "42 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")])
def test_durations_are_written_in_common_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words
