"""The benchmark compares a guided search with an exhaustive one by seeds that neither of them chose by."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks import search as benchmark
from benchmarks.search import (
    EVERY_SET,
    GUIDED,
    GUIDED_SETTINGS,
    TIMES,
    Again,
    Way,
    candidates,
    spread_of_seeds,
    verdicts,
)
from magray.config import load_config, load_search
from magray.errors import UserError
from magray.files.atomic import read_table
from magray.search.run import SearchRun
from magray.search.trials import Candidate, Strategy, Trials, read_trials

Row = dict[str, Any]


def trial(how: str, train_set: str, worst: float, **changes: Any) -> Row:
    settings = {"learning_rate": 1e-3, "schedule": "cosine", "budget": 900, "films": 80, "seed": 0, "width": 1.0}
    end = {"step": "explore", "status": "finished", "views": 900, "seconds": 1.0, "worst": worst, "worst_scale": 1.0}
    errors = {"curve": [0.5, 0.4, worst], "test_scales": [1.0], "errors": [worst]}
    row = {"how": how, "train_set": train_set} | settings | end | errors | changes
    return row | {"trial": Candidate.of(row).key("exhaustive" if row["how"] == "exhaustive" else "search")}


def again(train_set: str, *worst: float, **changes: Any) -> Again:
    return Again(Candidate.of(trial("exhaustive", train_set, 0.1, **changes)), list(worst))


EVERY = Way.of("exhaustive", [trial("exhaustive", f"{i / 10:g}", 0.10 + i / 100) for i in range(1, 9)], 900)
STOPPED: Row = {"status": "stopped", "curve": [0.3], "views": 100}


def test_a_trial_that_went_on_for_longer_ranks_before_a_stopped_one() -> None:
    """Errors of early rungs are those of a quarter of the films, after a part of the views."""
    rows = [trial("search", "0.2", 0.01, **STOPPED), trial("search", "0.5", 0.4)]
    assert [str(one.train_set) for one in Way.of("search", rows, 900).best(2)] == ["0.5", "0.2"]


def test_a_set_counts_once_and_ranges_other_views_failures_and_confirmations_do_not() -> None:
    rows = [
        trial("search", "0.2", 0.3),
        trial("search", "0.2", 0.2, learning_rate=5e-3),
        trial("search", "0.1..0.4", 0.01),
        trial("search", "0.3", 0.01, budget=3600),
        trial("search", "0.4", float("nan"), status="failed", curve=[]),
        trial("search", "0.5", 0.01, step="again", seed=1),
    ]
    (best,) = Way.of("search", rows, 900).best(10)
    assert (str(best.train_set), best.learning_rate) == ("0.2", 5e-3)


def test_sets_of_the_guided_search_are_trained_as_all_sets_were_and_with_its_own_settings() -> None:
    guided = Way.of("search", [trial("search", "0.2", 0.3, width=0.5)], 900)
    groups = candidates(guided, EVERY, 2)
    assert [str(one.train_set) for one in groups[EVERY_SET]] == ["0.1", "0.2"]
    assert groups[GUIDED] == groups[EVERY_SET][1:]
    assert [one.width for one in groups[GUIDED_SETTINGS]] == [0.5]


def test_the_spread_is_that_of_seeds_and_not_of_sets() -> None:
    assert spread_of_seeds([again("0.1", 0.10, 0.12), again("0.2", 0.30, 0.32)]) == pytest.approx(0.02 / 2**0.5)


def test_one_set_that_fails_with_a_seed_does_not_widen_the_spread_of_all() -> None:
    tried = [again("0.1", 0.10, 0.12), again("0.2", 0.30, 0.32), again("0.3", 0.10, 0.90)]
    assert spread_of_seeds(tried) == pytest.approx(0.02 / 2**0.5)


@pytest.mark.parametrize(("error", "said"), [(0.12, "as good, within"), (0.18, "worse, beyond")])
def test_a_search_is_as_good_if_its_set_is_within_two_standard_errors_of_the_difference(
    error: float, said: str
) -> None:
    """Two seeds that differ by 0.04 have a standard deviation of 0.028, and so has the difference of two means."""
    sets = {
        EVERY_SET: [again("0.1", 0.08, 0.12)],
        GUIDED: [again("0.2", error - 0.02, error + 0.02)],
        GUIDED_SETTINGS: [again("0.2", error - 0.02, error + 0.02, width=0.5)],
    }
    guided = Way.of("search", [trial("search", "0.2", 0.3), trial("search", "0.3", 0.3, **STOPPED)], 900)
    *compared, cost = verdicts(guided, EVERY, sets)
    assert len(compared) == 4
    assert all(
        f"0.2 µm errs by {error:.2%}; exhaustive: 0.1 µm by 10.00%" in line and said in line for line in compared
    )
    assert cost == "The guided search took 14% of the exhaustive search's views: a quarter or less."


def test_one_other_seed_is_refused_because_it_says_nothing_about_luck() -> None:
    with pytest.raises(UserError, match="set --seeds"):
        spread_of_seeds([again("0.1", 0.1)])


def written(path: Path, rows: Iterable[Row]) -> Path:
    trials = Trials(path, "films")
    for row in rows:
        trials.add(row)
    return path


def test_a_complete_table_is_reported_without_films(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explored = [*EVERY.trials, trial("search", "0.2", 0.3), trial("search", "0.7", 0.3, **STOPPED)]
    written(tmp_path / "search.parquet", explored)
    chosen = [
        trial("exhaustive", name, 0.1 + seed / 50, seed=seed) for name in ("0.1", "0.2", "0.7") for seed in (1, 2)
    ]
    written(tmp_path / "ten_best.parquet", (row | {"step": "again"} for row in chosen))
    settings = ["--set", f"output={tmp_path}", "--set", "views=[900]", "--best", "2", "--seeds", "2"]
    benchmark.main(["again", "configs/searches/ms.yaml", *settings])
    said = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:4]] for line in said.splitlines()]
    assert [row for row in rows if row[:1] == ["guided"]] == [
        ["guided", "1", "0.2"],
        ["guided", "2", "0.7"],
        ["guided", "all", ""],
    ]
    assert "first choice, guided: 0.2 µm errs by 13.00%; exhaustive: 0.1 µm by 13.00%" in " ".join(said.split())


@dataclass(frozen=True)
class Runner:
    """Stands in for Ray Tune: notes the sets and seeds that it is asked for, and writes their rows."""

    trials: Trials
    saved: Path
    ran: list[tuple[str, int]]

    def run(self, step: str, *proposed: Any) -> None:
        for point in proposed[-1]["candidate"]["grid_search"]:
            self.ran.append((point["train_set"], point["seed"]))
            self.trials.add(trial("exhaustive", worst=0.2, **point) | {"step": step})


def test_an_interrupted_run_trains_only_what_its_table_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched = Trials(written(tmp_path / "search.parquet", EVERY.trials), "films")
    path = written(tmp_path / "ten_best.parquet", [trial("exhaustive", "0.1", 0.1, seed=1)])
    runner: Any = Runner(searched, tmp_path / ".work" / "search-films", [])
    config = load_search("configs/searches/ms.yaml")
    run = SearchRun(config, "exhaustive", 80, 1e-3, searched, runner, print)
    monkeypatch.setattr(benchmark, "connect", lambda: None)
    monkeypatch.setattr(SearchRun, "of", lambda *_: run)
    wanted = [replace(EVERY.best(1)[0], seed=seed) for seed in (1, 2, 3)]
    for _ in range(2):
        benchmark.train_again(load_config("configs/paper/ms.yaml"), config, path, wanted)
    assert runner.ran == [("0.1", 2), ("0.1", 3)]
    assert [row["seed"] for row in read_trials(path).to_pylist()] == [1, 2, 3]
    assert len(read_trials(tmp_path / "search.parquet")) == len(EVERY.trials)
    assert not list((tmp_path / ".work").iterdir())


def test_the_speed_up_is_over_the_same_search_on_one_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    row = dict.fromkeys(TIMES.names, 1) | {"search": "films", "how": "search", "at_once": 7, "trial_seconds": 630.0}
    alone = row | {"gpus": 1, "gpu_share": 0.14, "views": 1000, "seconds": 100.0, "start_up": 10.0}
    both = alone | {"gpus": 2, "at_once": 14, "views": 1200, "seconds": 50.0}
    other = both | {"gpu_share": 1.0}
    Console(width=180).print(benchmark.time_table([alone, both, other]))
    first, second, third = (line.split("│") for line in capsys.readouterr().out.splitlines() if "films" in line)
    assert first[10].strip() == "90%"
    assert [cell.strip() for cell in second[12:15]] == ["2.00", "2.25", "2.40"]
    assert [cell.strip() for cell in third[12:15]] == ["nan"] * 3


def test_a_time_in_the_table_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measurements: list[str] = []

    def measure(project: Any, config: Any, how: str) -> dict[str, Any]:
        measurements.append(how)
        return dict.fromkeys(("stopped", "views"), 1) | dict.fromkeys(("trial_seconds", "start_up", "seconds"), 1.0)

    monkeypatch.setattr(benchmark, "measured", measure)
    monkeypatch.setattr(benchmark, "gpus", lambda: 2.0)
    monkeypatch.setattr(benchmark, "concurrent_trials", lambda share: 2 * int(1 / share))
    search = load_search("configs/searches/ms.yaml")
    project = load_config("configs/paper/ms.yaml")
    strategies: tuple[Strategy, ...] = ("search", "exhaustive", "search")
    for how in strategies:
        benchmark.add_time(project, search, how, 64, tmp_path / "tables" / "times.parquet")
    assert measurements == ["search", "exhaustive"]
    assert read_table(tmp_path / "tables" / "times.parquet", TIMES)["at_once"].to_pylist() == [14, 14]
