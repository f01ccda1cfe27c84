"""A campaign on a real Ray cluster ends with each film exactly once, also after failures and interruptions."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from ray.exceptions import UserCodeException

from magray.campaign.pipeline import blocks_of
from magray.campaign.progress import FilmProgress
from magray.campaign.run import run_campaign
from magray.campaign.simulator import Committer, FilmSimulator
from magray.cli.console import INTERRUPTED
from magray.config import SimulateConfig
from magray.errors import FilmsLost, UserError
from magray.films import Minimize, Protocol, Quench, plan_table
from magray.micromagnetics.solver import relax
from magray.store import create_store, open_store, verify
from magray.store.layout import CAMPAIGN_FILE
from magray.store.rows import pixels
from tests.support.specimens import co_like
from tests.support.stores import wanting

pytestmark = pytest.mark.usefixtures("ray_cluster")

CAMPAIGN = "small"
ONE_ACTOR = SimulateConfig(block_films=4, actors=1)  # where it does not matter how many work


def quick(count: int) -> pa.Table:
    return plan_table([co_like((16, 16), seed=seed) for seed in range(count)], CAMPAIGN)


def slow(count: int) -> pa.Table:
    """Return a plan of films that take a quarter of a second or more: single precision cannot reach their torque."""
    endless = Protocol(stages=(Minimize(torque=1e-12, max_evaluations=1500),))
    return plan_table([co_like((64, 64), seed=seed, protocol=endless) for seed in range(count)], CAMPAIGN)


def committed(store: Path) -> dict[str, int]:
    """Return the time at which each file of a store was written, ns."""
    return {f"films-1/{path.name}": path.stat().st_mtime_ns for path in store.glob("films-1/*.parquet")}


def wait_for_a_commit(store: Path, seconds: float = 60) -> dict[str, int]:
    deadline = time.monotonic() + seconds
    while not committed(store):
        assert time.monotonic() < deadline, "nothing was committed"
        time.sleep(0.02)
    return committed(store)


def test_ray_changes_nothing_and_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A campaign's films are those that the solver makes without Ray, and the terminal shows our progress only."""
    plan = quick(10)
    summary = run_campaign(plan, str(tmp_path / "store"), SimulateConfig(block_films=4), campaign=CAMPAIGN)
    said = capfd.readouterr()
    store = open_store(str(tmp_path / "store"))
    assert verify(store, plan).ok
    alone = relax([co_like((16, 16), seed=seed) for seed in range(10)], "cpu")
    images = store.images([film.film.film_id for film in alone])
    for image, film in zip(images, alone, strict=True):
        assert film.m is not None
        np.testing.assert_array_equal(image, pixels(film.m[2]))
    assert (summary.films, summary.simulated, summary.failed, summary.not_converged) == (10, 10, 0, 0)
    assert summary.evaluations == sum(film.evaluations for film in alone)
    assert said.out == ""
    lines = said.err.splitlines()
    assert all(line.startswith("films ") for line in lines)
    assert lines[-1].startswith("films 10 of 10, ")


def test_a_second_run_simulates_what_is_missing_and_touches_nothing_else(tmp_path: Path) -> None:
    plan, store = quick(10), tmp_path / "store"
    first = create_store(str(store), CAMPAIGN, plan)
    for block in list(blocks_of(wanting(plan, range(10)), 4))[1:]:  # as a campaign leaves them that was stopped
        Committer(first.uri)(FilmSimulator("cpu")(block))
    before = committed(store)
    lost = verify(open_store(str(store)), plan).missing
    assert len(lost) == 4
    summary = run_campaign(plan, str(store), ONE_ACTOR, campaign=CAMPAIGN, progress=False)
    assert (summary.films, summary.simulated) == (10, len(lost))
    assert verify(open_store(str(store)), plan).ok
    assert before.items() <= committed(store).items()
    assert run_campaign(plan, str(store), campaign=CAMPAIGN).simulated == 0


def test_films_whose_files_are_removed_meanwhile_are_reported_and_simulated_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of the store itself are removed, too, as if somebody emptied the folder during a campaign."""
    plan, store = quick(10), tmp_path / "store"
    lost: list[str] = []

    class Thief(FilmProgress):
        def add(self, results: pa.Table) -> None:
            super().add(results)
            if not lost:
                lost.extend(results["film_id"].to_pylist())
                for path in [store / CAMPAIGN_FILE, *(store / name for name in results["file"].unique().to_pylist())]:
                    path.unlink()

    monkeypatch.setattr("magray.campaign.run.FilmProgress", Thief)
    with pytest.raises(FilmsLost) as error:
        run_campaign(plan, str(store), ONE_ACTOR, campaign=CAMPAIGN, progress=False)
    assert str(error.value).startswith(f"{len(lost)} of 10 films are not in {store}")
    done = run_campaign(plan, str(store), ONE_ACTOR, campaign=CAMPAIGN, progress=False)
    assert done.simulated == len(lost)
    assert verify(open_store(str(store)), plan).ok


def test_a_local_ray_starts_no_process_without_work() -> None:
    """The raylet starts its agents and workers itself."""
    node: Any = ray._private.worker._global_node
    assert set(node.all_processes) == {"gcs_server", "raylet"}


def test_no_other_user_can_read_the_folder_of_a_local_ray() -> None:
    node: Any = ray._private.worker._global_node
    folder = Path(node.get_session_dir_path()).parents[1]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "auth_token").stat().st_mode) == 0o600


SCRIPT = """
import typer, pyarrow.parquet as pq
from magray.cli import app as cli
from magray.cli.console import resumable
from magray.runtime.connect import connect
from magray.campaign.run import run_campaign
from magray.config import SimulateConfig
cli.app = typer.Typer()
@cli.app.command()
def simulate(plan: str, store: str):
    with resumable():
        connect(num_cpus=2)
        run_campaign(pq.read_table(plan), store, SimulateConfig(block_films=2, actors=1), campaign="small")
cli.main()
"""


def interrupted(tmp_path: Path, plan: pa.Table, how: Callable[[int], None]) -> str:
    """Run a campaign in a process with its own Ray, end it by `how` after a commit, and return its messages."""
    pq.write_table(plan, tmp_path / "plan.parquet")
    store = tmp_path / "store"
    driver = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "plan.parquet"), str(store)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for_a_commit(store)
    how(driver.pid)
    said = driver.communicate(timeout=30)[1]
    assert driver.returncode == INTERRUPTED, said
    done = verify(open_store(str(store)), plan)
    assert 0 < done.committed < plan.num_rows
    assert done.duplicate == done.truncated == done.foreign == []
    return said


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_keep_committed_films_and_say_how_to_continue(tmp_path: Path, stop: signal.Signals) -> None:
    """Ctrl-C on a terminal reaches all of its processes, Ray's included; a scheduler stops the driver only."""
    kill = os.killpg if stop is signal.SIGINT else os.kill
    said = interrupted(tmp_path, slow(12), lambda driver: kill(driver, stop))
    assert "of 12 films are committed; run again for the rest" in said
    assert all(line.startswith(("films ", "stopped: ", "magray: interrupted")) for line in said.splitlines())


def test_a_users_mistake_comes_back_as_one_line_from_an_actor(tmp_path: Path) -> None:
    """The mistake is an edited plan: a film's Ms does not match its id."""
    plan = quick(2)
    i = plan.schema.get_field_index("Ms")
    edited = plan.set_column(i, plan.schema.field(i), pa.array([1.5e6, 1.4e6]))
    with pytest.raises(UserError, match=r"^film \w+ of the plan has other inputs than its id stands for; run .*again$"):
        run_campaign(edited, str(tmp_path / "store"), ONE_ACTOR, campaign=CAMPAIGN, progress=False)


def free_cores() -> float:
    return float(ray.available_resources().get("CPU", 0))  # type: ignore[no-untyped-call]


def test_any_other_failure_is_raised_and_leaves_the_cores_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the next campaign would wait for the actors of this one."""

    class BrokenSimulator:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def __call__(self, plan: pa.Table) -> pa.Table:
            return plan.slice(0, 1 // 0)

    monkeypatch.setattr("magray.campaign.pipeline.FilmSimulator", BrokenSimulator)
    with pytest.raises(UserCodeException, match="ZeroDivisionError"):
        run_campaign(quick(8), str(tmp_path / "store"), ONE_ACTOR, campaign=CAMPAIGN, progress=False)
    deadline = time.monotonic() + 20
    while free_cores() < 2:
        assert time.monotonic() < deadline, free_cores()
        time.sleep(0.2)


def test_films_that_failed_are_simulated_again_only_on_request(tmp_path: Path) -> None:
    endless = Protocol(stages=(Quench(0.5, 1e-3),))
    films = [co_like((16, 16), seed=seed, **({"protocol": endless} if seed < 2 else {})) for seed in range(6)]
    plan, store, log = plan_table(films, CAMPAIGN), str(tmp_path / "store"), tmp_path / "log.jsonl"
    done = run_campaign(plan, store, ONE_ACTOR, campaign=CAMPAIGN, progress=False)
    assert (done.simulated, done.failed) == (6, 2)
    assert run_campaign(plan, store, ONE_ACTOR, campaign=CAMPAIGN, progress=False).simulated == 0
    again = ONE_ACTOR.model_copy(update={"retry_failed": True})
    done = run_campaign(plan, store, again, campaign=CAMPAIGN, progress=False, log=log)
    assert (done.films, done.simulated, done.failed) == (6, 2, 2)
    assert "2 films had failed and are simulated again" in log.read_text()
    assert verify(open_store(store), plan).ok


def test_more_actors_than_cores_are_refused(tmp_path: Path) -> None:
    plan, store = quick(2), str(tmp_path / "store")
    with pytest.raises(UserError, match="actors must lie between 1 and the 2 cores"):
        run_campaign(plan, store, SimulateConfig(actors=3), campaign=CAMPAIGN)
