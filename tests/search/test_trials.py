"""A search's trials: their groups and costs, the Pareto front, and the cheapest within the tolerance."""

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from magray.config import ScaleSet, SearchConfig, load_config, load_protocols, load_search
from magray.errors import UserError
from magray.search.dataset import Evaluation
from magray.search.space import Space
from magray.search.summary import summary_lines
from magray.search.trials import (
    SEARCH,
    Candidate,
    SearchResult,
    Trials,
    cheapest,
    max_scale_gap,
    options,
    pareto_front,
    read_trials,
    within,
)
from magray.search.tune import FAILED_ERROR, TrialLogger, TrialRunner, run_trial
from magray.workflows.protocol_transfer import check_alike
from tests.support.studies import trial

SEARCHES = Path(__file__).parents[2] / "configs" / "searches"
SETTINGS = SearchConfig(
    project=Path("project.yaml"),
    tolerance=0.05,
    views=[900],
    trials=4,
    learning_rates=(1e-3, 1e-2),
    scales=[0.5, 1.0, 2.0],
    most_scales=2,
)


def test_the_cheapest_within_the_tolerance_need_not_err_least() -> None:
    found = options([trial([0.02], budget=1800), trial([0.05], budget=900), trial([0.3], budget=300)])
    best = cheapest(found, 0.05)
    assert best is not None
    assert best.candidate.budget == 900
    assert cheapest(found, 0.01) is None


def test_among_equal_views_fewer_films_are_cheaper_and_then_fewer_scales() -> None:
    found = options([trial([0.01], "0.5+1"), trial([0.04], "1"), trial([0.03], "0.5+1", films=40)])
    assert [(one.candidate.films, str(one.candidate.train_set)) for one in found] == [
        (40, "0.5+1"),
        (80, "1"),
        (80, "0.5+1"),
    ]


def test_the_pareto_front_has_all_that_nothing_cheaper_matches() -> None:
    rows = [trial([error], budget=budget) for budget, error in ((100, 0.4), (200, 0.5), (300, 0.2), (400, 0.2))]
    assert [(one.candidate.budget, one.worst) for one in pareto_front(options(rows))] == [(100, 0.4), (300, 0.2)]


def test_an_options_error_is_the_mean_over_its_seeds() -> None:
    """A candidate that is within the tolerance with one lucky seed must be so in the mean."""
    (one,) = options([trial([0.04, 0.02], seed=0), trial([0.08, 0.02], seed=1)])
    assert (one.seeds, one.least, one.most) == (2, 0.04, 0.08)
    assert one.worst == pytest.approx(0.06)
    assert one.errors == pytest.approx((0.06, 0.02))
    assert cheapest([one], 0.05) is None


def test_trials_that_were_stopped_or_failed_are_no_options() -> None:
    assert options([trial([0.01], status="stopped"), trial([0.01], status="failed")]) == []


def test_the_scales_that_are_served_lie_in_one_run() -> None:
    (one,) = options([trial([0.04, 0.2, 0.03, 0.05, 0.06])])
    assert within(one, 0.05) == (1.5, 2.0)
    assert within(one, 0.01) is None
    assert max_scale_gap(one) == 1.5


def test_every_scale_in_a_range_is_a_trained_one() -> None:
    (one,) = options([trial([0.04, 0.2, 0.03], train_set="0.6..2")])
    assert max_scale_gap(one) == pytest.approx(0.1)


def test_every_candidate_is_a_point_in_optunas_space() -> None:
    space = Space(SETTINGS, 900, 80)
    sets = [ScaleSet.of(some) for n in (1, 2) for some in itertools.combinations(SETTINGS.scales, n)]
    candidates = [Candidate(name, 2e-3, "one-cycle", 900, 80, 0) for name in sets]
    assert [space.candidate(space.point(one)) for one in candidates] == candidates
    assert all(space.holds(one) for one in candidates)
    assert not space.holds(Candidate(ScaleSet.parse("0.5+1+2"), 2e-3, "one-cycle", 900, 80, 0))
    assert not space.holds(Candidate(ScaleSet.parse("0.5"), 2e-2, "one-cycle", 900, 80, 0))
    assert not space.holds(Candidate(ScaleSet.parse("0.5"), 2e-3, "one-cycle", 900, 80, 0, width=2.0))
    assert not space.holds(Candidate(ScaleSet.parse("0.5..1"), 2e-3, "one-cycle", 900, 80, 0))


def test_the_table_is_there_after_every_trial_and_is_of_one_search(tmp_path: Path) -> None:
    trials = Trials(tmp_path / "search.parquet", "these films")
    for seed in range(3):
        trials.add(trial([0.1], seed=seed))
        assert read_again(trials.path).rows == trials.rows
    with pytest.raises(UserError, match="search over other films, test scales or settings; move it away"):
        Trials(trials.path, "other films").read()


def test_trials_that_failed_are_tried_again_by_the_next_search(tmp_path: Path) -> None:
    trials = Trials(tmp_path / "search.parquet", "these films")
    trials.add(trial([0.1], seed=0))
    trials.add(trial([0.1], seed=1, status="failed"))
    assert [one["seed"] for one in read_again(trials.path).of("search")] == [0]


def read_again(path: Path) -> Trials:
    trials = Trials(path, "these films")
    trials.read()
    return trials


def summary(rows: list[dict[str, Any]], tolerance: float) -> str:
    """Return the summary of a search with these trials."""
    return "\n".join(
        summary_lines(SearchResult.of(rows, "search", tolerance), SETTINGS.model_copy(update={"tolerance": tolerance}))
    )


def test_the_answer_names_set_error_and_cost() -> None:
    said = summary(
        [trial([0.04, 0.02], seed=0), trial([0.03, 0.02], seed=1), trial([0.2], status="stopped", seed=2)], 0.05
    )
    assert "2 trials finished, 1 stopped early, 0 failed; 2,700 views in all" in said
    assert "0.5+1 µm is enough for pictures of 0.5 to 1 µm" in said
    assert "0.5 µm, the mean error is 3.5% of the parameter's range (3.0% to 4.0% over 2 seeds)" in said
    assert "cost: 900 views of 80 films" in said


def test_where_nothing_serves_the_best_is_named_and_what_would_work() -> None:
    said = summary([trial([0.2, 0.04, 0.03]), trial([0.3, 0.3, 0.3], "1")], 0.05)
    assert "no set stays within 5.0%: the best, 0.5+1 µm with 900 views, errs by 20.0%" in said
    assert "pictures of 1 to 1.5 µm only (test_scales), which it serves; a tolerance of 20.1%" in said


@pytest.mark.parametrize("path", sorted(SEARCHES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_searches_that_come_with_it_can_be_read(path: Path) -> None:
    settings = load_search(path)
    assert load_config(path.parent / settings.project).fit.targets


@pytest.mark.parametrize("name", ["dmi", "ms"])
def test_the_protocols_that_come_with_it_are_those_of_like_films(name: str) -> None:
    path = SEARCHES.parent / "protocols" / f"{name}.yaml"
    settings = load_protocols(path)
    projects = [load_config(path.parent / project) for project in settings.projects]
    check_alike(projects)
    assert len({one.campaign.protocol.model_dump_json() for one in projects}) == len(projects)


@pytest.mark.parametrize("train_set", ["0.6+0.8", "0.4..0.45"])
def test_protocols_are_compared_at_trained_scales(train_set: str) -> None:
    path = SEARCHES.parent / "protocols" / "ms.yaml"
    with pytest.raises(UserError, match=f"test_scales: none of them is trained; add one of {re.escape(train_set)}"):
        load_protocols(path, [f"train_set='{train_set}'"])
    assert load_protocols(path, ["train_set='0.4..0.5'"]).test_scales[0] == 0.5


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("scales=[]", "scales: list should have at least 1 item"),
        ("scales=[0.5, 0.5]", "scales: one is given twice"),
        ("tolerance=1.5", "tolerance: input should be less than 1"),
        ("learning_rates=[1.0e-2, 1.0e-3]", "low must be below high"),
        ("views=[900, 300]", "views: give them ascending"),
        ("trails=3", "unknown key trails; did you mean trials?"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(override: str, complaint: str) -> None:
    with pytest.raises(UserError, match=r"quickstart.yaml: ") as caught:
        load_search(SEARCHES / "quickstart.yaml", [override])
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def rewritten(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path)
    return path


def test_a_trial_whose_error_is_no_number_has_failed_and_never_wins(tmp_path: Path) -> None:
    """NaN is below no other number, but `min` returns it if it comes first."""
    wrong, right = trial([0.1, 0.1], budget=300), trial([0.3, 0.2])
    wrong |= {"errors": [math.nan, 0.1], "worst": math.nan, "curve": [math.nan, math.nan]}
    path = rewritten(tmp_path / "search.parquet", pa.Table.from_pylist([wrong, right], schema=SEARCH))
    rows = read_trials(path).to_pylist()
    assert [row["status"] for row in rows] == ["failed", "finished"]
    assert SearchResult.of(rows, "search", 0.05).best.worst == 0.3


@pytest.mark.parametrize(
    "change",
    [
        {"worst": pa.array(["0.1"])},
        {"films": pa.array([0])},
        {"learning_rate": pa.array([math.inf])},
        {"train_set": pa.array(["wide"])},
        {"errors": pa.array([[0.1]])},
        {"status": pa.array([None], pa.string())},
        {"how": pa.array(["luck"])},
    ],
)
def test_a_table_that_no_search_writes_is_refused(tmp_path: Path, change: dict[str, pa.Array]) -> None:
    table = pa.Table.from_pylist([trial([0.1, 0.2])], schema=SEARCH)
    columns = {name: table[name] for name in table.column_names}
    path = rewritten(tmp_path / "search.parquet", pa.table(columns | change))
    with pytest.raises(UserError, match=r"search\.parquet .*move it away"):
        read_trials(path)


def test_a_trial_that_diverges_ends_at_once_and_is_written_down_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry would diverge, too. Optuna and ASHA get a large error, because they need a number."""
    reported: list[dict[str, Any]] = []

    def diverge(*_: object) -> Iterator[Evaluation]:
        yield Evaluation(1, 100, 1.0, (0.4,), (0.4, 0.2))
        raise UserError("the fit diverged: its loss is not a finite number")

    monkeypatch.setattr("magray.search.tune.learn", diverge)
    monkeypatch.setattr("magray.search.tune.tune.report", reported.append)
    candidate, nothing = Candidate.of(trial([0.4, 0.2])), None
    run_trial({}, nothing, lambda _: candidate, "search", tmp_path)  # type: ignore[arg-type]
    assert [one["worst"] for one in reported] == [0.4, FAILED_ERROR]
    said: list[str] = []
    tracked: list[dict[str, Any]] = []
    trials = Trials(tmp_path / "search.parquet", "these films")
    runner = TrialRunner(nothing, (0.5, 1.0), "search", trials, tmp_path, 1.0, said.append, tracked.append)
    TrialLogger(runner, "explore", lambda _: candidate).on_trial_complete(
        1, [], SimpleNamespace(config={}, last_result=reported[-1], error_file=None)
    )
    (row,) = read_trials(trials.path).to_pylist()
    assert (row["status"], row["errors"]) == ("failed", [])
    assert [(one["trial"], one["status"]) for one in tracked] == [(row["trial"], "failed")]
    assert "0.5+1 µm failed: the fit diverged: its loss is not a finite number" in said[0]
