"""A campaign ends well only if its store then holds every film, whatever the simulators have said."""

from pathlib import Path
from unittest.mock import Mock

import pyarrow as pa
import pytest

from magray.campaign import run
from magray.errors import FilmsLost
from magray.films import plan_table
from magray.micromagnetics import relax
from magray.store import Store, create_store, open_store, rows_of
from magray.store import lease as leases
from magray.store.layout import CAMPAIGN_FILE, LEASE_FILE
from tests.support.specimens import co_like

FILMS = [co_like((8, 8), seed=seed) for seed in range(3)]


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_films_that_are_gone_at_the_end_are_counted_and_simulated_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """The file that makes a folder a store goes with them."""
    plan, folder = plan_table(FILMS, "small"), tmp_path / "store"

    def simulate(plan: pa.Table, _missing: int, store: Store, *_: object) -> None:
        for row, film in enumerate(relax(FILMS, "cpu")):
            if plan["wanted"][row].as_py():
                store.commit(rows_of([film], plan.slice(row, 1)))

    def simulate_and_lose(plan: pa.Table, missing: int, store: Store, *_: object) -> None:
        simulate(plan, missing, store)
        for name in [CAMPAIGN_FILE, *store.files()[:lost]]:
            (folder / name).unlink()

    monkeypatch.setattr(run, "connect", lambda: None)
    monkeypatch.setattr(run, "choose_devices", Mock())
    monkeypatch.setattr(run, "_simulate", simulate_and_lose)
    if lost:
        with pytest.raises(FilmsLost, match=rf"^{lost} of 3 films are not in .*; run the same command again"):
            run.run_campaign(plan, str(folder), campaign="small", progress=False)
    else:
        run.run_campaign(plan, str(folder), campaign="small", progress=False)
    monkeypatch.setattr(run, "_simulate", simulate)
    assert run.run_campaign(plan, str(folder), campaign="small", progress=False).simulated == lost
    assert open_store(str(folder)).count() == 3


@pytest.mark.parametrize("alive", [False, True])
def test_a_finished_campaign_is_tidied_after_a_driver_that_died_in_the_end_and_not_before_one_that_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    """Between its last commit and its end a driver still has the store's lease."""
    monkeypatch.setattr(leases, "BEAT", 0.05)
    monkeypatch.setattr(leases, "EXPIRY", 0.3)
    plan, folder = plan_table(FILMS, "small"), tmp_path / "store"
    store = create_store(str(folder), "small", plan)
    store.commit(rows_of(list(relax(FILMS, "cpu")), plan))
    if alive:
        with leases.lease(store.location, print):
            assert run.run_campaign(plan, str(folder), campaign="small", progress=False).simulated == 0
            assert (folder / LEASE_FILE).exists()
    else:
        (folder / LEASE_FILE).write_text('{"driver": "dead", "beat": 6}')
        assert run.run_campaign(plan, str(folder), campaign="small", progress=False).simulated == 0
        assert not (folder / LEASE_FILE).exists()
