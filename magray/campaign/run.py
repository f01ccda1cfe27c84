"""Run a campaign: Ray Data actors simulate the films of a plan that its store lacks, and commit them.

    blocks of the plan  →  FilmSimulator, an actor for each core or GPU  →  Committer  →  progress on the driver

Resuming is subtraction: committed films are left out. The plan is always divided at the same places, so a block that an
interrupted run still managed to commit and the same block of the next run are one file.
"""

import contextlib
import math
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from magray.campaign.pipeline import blocks_of, committed, cpu_pool, gpu_pool, pipeline
from magray.campaign.progress import FilmProgress, Watch
from magray.config import SimulateConfig
from magray.errors import FilmsLost, UserError
from magray.films import films_of
from magray.micromagnetics.queue import slots_of
from magray.runtime.connect import connect
from magray.runtime.events import EventLog
from magray.runtime.nodes import check_nodes, nodes_watched
from magray.runtime.resources import Devices, choose_devices
from magray.store import Store, create_store, delete_failed
from magray.store.lease import is_leased, lease


@dataclass(frozen=True)
class CampaignSummary:
    """The state of a campaign after a run. `simulated` and `seconds` are of this run, all else of the whole plan."""

    films: int
    simulated: int
    failed: int
    not_converged: int
    evaluations: int
    seconds: float


def run_campaign(
    plan: pa.Table,
    store_uri: str,
    config: SimulateConfig | None = None,
    *,
    campaign: str,
    log: Path | None = None,
    progress: bool = True,
    watch: Watch | None = None,
) -> CampaignSummary:
    """Simulate the films of `plan` that the store does not hold, and commit them block by block.

    config: the section `simulate` of a project's config, but for the store; None for its defaults. log: file that gets
    a JSON object for each event. watch: called after each commit, and at the end of the simulations. An actor's death
    costs the blocks that it has. Ctrl-C leaves in the store what is committed; run again for the rest.
    Raises UserError if the store is of another plan, has no room, or cannot be written, if another driver is at work on
    it, or if the backend has no device; FilmsLost if films are not in the store at the end, since files were removed.
    """
    start = time.monotonic()
    config = config or SimulateConfig()
    events = EventLog(log, progress)
    store = create_store(store_uri, campaign, plan)
    simulated, devices = 0, None
    if pc.any(store.lacks(plan)).as_py() or config.retry_failed:
        connect()
        devices = choose_devices(config.backend, config.actors, config.gpu_share, events)
    if devices or store.planned != plan.num_rows:
        with lease(store.location, events.notify):
            store = store.begin_writing(plan.num_rows)
            if devices:
                simulated = _simulate_missing(plan, store, devices, config, events, watch)
    elif is_leased(store.location):  # by a driver that died after its last commit, unless it lives and is about to end
        with contextlib.suppress(UserError), lease(store.location, events.notify):
            store.begin_writing()
    return _summary(store, plan, simulated, time.monotonic() - start)


def _simulate_missing(
    plan: pa.Table,
    store: Store,
    devices: Devices,
    config: SimulateConfig,
    events: EventLog,
    watch: Watch | None,
) -> int:
    """Simulate the films that are missing now that this driver has the lease. Return their number."""
    if config.retry_failed and (deleted := delete_failed(store)):
        events.notify(f"{deleted} films had failed and are simulated again")
    wanted = store.lacks(plan)  # again: the driver before may have committed while this one waited
    missing = int(pc.sum(wanted).as_py() or 0)
    if missing:
        _simulate(plan.append_column("wanted", wanted), missing, store, devices, config.block_films, events, watch)
        store.restore_note()
    return missing


def _simulate(
    plan: pa.Table,
    missing: int,
    store: Store,
    devices: Devices,
    block_films: int | None,
    events: EventLog,
    watch: Watch | None,
) -> None:
    """Simulate and commit the missing films. Raises UserError for an error of a stage that the user can put right.

    plan: with the column `wanted`, which says which films are missing; missing: their number.
    block_films: None for 4 on a core, half of its slots on a GPU.
    """
    slots = slots_of(films_of(plan.slice(0, 1))[0]) if devices.on_gpus else 1
    films = block_films or (max(4, slots // 2) if devices.on_gpus else 4)
    films = min(films, math.ceil(plan.num_rows / devices.actors))
    blocks = list(blocks_of(plan, films))
    actors = min(devices.actors, len(blocks))
    pool = gpu_pool(actors, devices.gpu_share, films, slots) if devices.on_gpus else cpu_pool(actors)
    check_nodes(store.uri)
    facts = {"campaign": store.campaign, "store": store.uri, "backend": devices.backend, "actors": actors}
    events.write("begun", **facts, films=plan.num_rows, missing=missing, block_films=films)
    progress = FilmProgress(plan.num_rows, plan.num_rows - missing, events, watch)
    with progress, nodes_watched(events):
        for results in committed(pipeline(blocks, store.uri, devices, pool)):
            progress.add(results)


def _summary(store: Store, plan: pa.Table, simulated: int, seconds: float) -> CampaignSummary:
    """Return the state of the campaign. Raises FilmsLost unless every film is in the store."""
    if lost := pc.sum(store.lacks(plan)).as_py():
        raise FilmsLost(
            f"{lost} of {plan.num_rows} films are not in {store.uri}, whose files were removed meanwhile; "
            "run the same command again to simulate them"
        )
    rows = store.table(["status", "evaluations"])
    count = Counter({value["values"]: value["counts"] for value in pc.value_counts(rows["status"]).to_pylist()})
    return CampaignSummary(
        films=plan.num_rows,
        simulated=simulated,
        failed=count["failed"],
        not_converged=count["not_converged"],
        evaluations=pc.sum(rows["evaluations"]).as_py() or 0,
        seconds=seconds,
    )
