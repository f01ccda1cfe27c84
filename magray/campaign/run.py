"""A campaign: the films of a plan that its store does not hold yet, simulated by Ray Data actors and committed.

    blocks of the plan  →  FilmSimulator, an actor for each core or GPU  →  Committer  →  progress on the driver

Resuming is subtraction: what is committed is not fed again. The plan is always cut at the same places, so a block that
an interrupted run still managed to commit and the same block of the next run are one file.
"""

import math
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from magray.campaign.pipeline import blocks_of, committed, cpu_pool, gpu_pool, pipeline
from magray.errors import FilmsLost, UserError
from magray.films import films_of
from magray.micromagnetics.queue import slots_of
from magray.runtime.connect import connect
from magray.runtime.events import EventLog
from magray.runtime.nodes import check_nodes, nodes_watched
from magray.runtime.progress import FilmProgress
from magray.runtime.resources import Devices, choose_devices
from magray.store import Store, create_store, delete_failed, settle
from magray.store.lease import lease


@dataclass(frozen=True)
class CampaignSummary:
    """A campaign after a run. `simulated` and `seconds` are of this run, everything else is of the whole plan."""

    films: int
    simulated: int
    failed: int
    not_converged: int
    evaluations: int
    seconds: float


def run_campaign(
    plan: pa.Table,
    store_uri: str,
    *,
    campaign: str,
    backend: str = "auto",
    actors: int | None = None,
    gpu_share: float = 1.0,
    block_films: int | None = None,
    retry_failed: bool = False,
    log: Path | None = None,
    progress: bool = True,
) -> CampaignSummary:
    """Simulates the films of `plan` that the store does not hold, and commits them block by block.

    actors: at most so many; None for one on each core or GPU share of the cluster as it is now. gpu_share: of a GPU
    that an actor takes. block_films: films that an actor takes at a time; None for 4 on a core, half of its slots on a
    GPU. An actor's death costs the blocks that it has. retry_failed: films that failed before are simulated again.
    log: file that gets a JSON object for whatever happens. Ctrl-C leaves in the store what is committed; run again for
    the rest.
    Raises UserError if the store is of another plan, has no room, or cannot be written, if another driver is at work on
    it, or if the backend has no device; FilmsLost if films are not in the store at the end, since files were removed.
    """
    start = time.monotonic()
    if block_films is not None and block_films < 1:
        raise UserError(f"block_films must be 1 or more, not {block_films}")
    events = EventLog(log, progress)
    store = create_store(store_uri, campaign, plan)
    simulated = store.missing(plan).num_rows
    if simulated or retry_failed:
        connect()
        devices = choose_devices(backend, actors, gpu_share, events)
        with lease(store.location, events.notify):
            settle(store.location)
            if retry_failed and (forgotten := delete_failed(store)):
                events.notify(f"{forgotten} films had failed and are simulated again")
            missing = store.missing(plan)  # again: the driver before may have committed while this one waited
            simulated = missing.num_rows
            if simulated:
                _simulate(plan, missing, store, devices, block_films, events)
                store.write_about()  # it may be lost like any other file
    return _summary(store, plan, simulated, time.monotonic() - start)


def _simulate(
    plan: pa.Table, missing: pa.Table, store: Store, devices: Devices, block_films: int | None, events: EventLog
) -> None:
    """Simulates and commits the missing films. Raises UserError for what a stage found that the user can mend."""
    slots = slots_of(films_of(plan.slice(0, 1))[0]) if devices.on_gpus else 1
    films = block_films or (max(4, slots // 2) if devices.on_gpus else 4)
    films = min(films, math.ceil(plan.num_rows / devices.actors))
    blocks = list(blocks_of(plan, missing, films))
    actors = min(devices.actors, len(blocks))
    pool = gpu_pool(actors, devices.gpu_share, films, slots) if devices.on_gpus else cpu_pool(actors)
    check_nodes(store.uri)
    facts = {"campaign": store.campaign, "store": store.uri, "backend": devices.backend, "actors": actors}
    events.write("begun", **facts, films=plan.num_rows, missing=missing.num_rows, block_films=films)
    bar = FilmProgress(plan.num_rows, plan.num_rows - missing.num_rows, events)
    with bar, nodes_watched(events):
        for results in committed(pipeline(blocks, store.uri, devices, pool)):
            bar.add(results)


def _summary(store: Store, plan: pa.Table, simulated: int, seconds: float) -> CampaignSummary:
    """Raises FilmsLost unless every film is in the store. A column is read for that, and no picture."""
    rows = store.table(["film_id", "status", "evaluations"])
    if lost := plan.num_rows - pc.sum(pc.is_in(plan["film_id"], value_set=rows["film_id"].combine_chunks())).as_py():
        raise FilmsLost(
            f"{lost} of {plan.num_rows} films are not in {store.uri}, whose files were removed meanwhile; "
            "run the same command again to simulate them"
        )
    count = Counter({value["values"]: value["counts"] for value in pc.value_counts(rows["status"]).to_pylist()})
    return CampaignSummary(
        films=plan.num_rows,
        simulated=simulated,
        failed=count["failed"],
        not_converged=count["not_converged"],
        evaluations=pc.sum(rows["evaluations"]).as_py() or 0,
        seconds=seconds,
    )
