"""The stages of a campaign as Ray Data runs them: blocks → simulators → committers → the driver."""

import gc
import logging
import math
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray.data
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.exceptions import UserCodeException

from magray.campaign.simulator import Committer, FilmSimulator
from magray.errors import UserError
from magray.runtime.resources import Devices

# Together less than one core, so that two actors on two cores leave room for a commit.
SIMULATE_CPUS = 0.9
COMMIT_CPUS = 0.1
COMMITS_AT_ONCE = 4  # by each of half as many committers as there are simulators


def blocks_of(plan: pa.Table, missing: pa.Table, films: int) -> Iterator[pa.Table]:
    """The blocks of `films` films of the plan in which any are missing; the column `wanted` says which."""
    wanted = pc.is_in(plan["film_id"], value_set=missing["film_id"].combine_chunks())
    plan = plan.append_column("wanted", wanted).combine_chunks()
    for first in range(0, plan.num_rows, films):
        block = plan.slice(first, films)
        if pc.any(block["wanted"]).as_py():
            yield block


def cpu_pool(actors: int) -> dict[str, Any]:
    """Each actor has a core, and a block at a time."""
    # a block is a batch: with a number, Ray Data would join a short block and its neighbour
    return {"batch_size": None, "compute": _pool(actors, max_tasks_in_flight_per_actor=1)}


def gpu_pool(actors: int, gpu_share: float, block_films: int, slots: int) -> dict[str, Any]:
    """Each actor has a GPU, and as many blocks at once as fill its slots, and half as many more that wait."""
    calls = math.ceil(1.5 * slots / block_films) + 1
    pool = _pool(
        actors,
        max_tasks_in_flight_per_actor=calls,
        max_concurrent_calls_per_actor=calls,
        enable_true_multi_threading=True,
    )
    # Ray Data asks for a number with a GPU; all blocks but the plan's last have as many films, so that it joins none
    return {"batch_size": block_films, "compute": pool, "num_gpus": gpu_share}


def _pool(actors: int, **limits: Any) -> ActorPoolStrategy:
    """All actors are asked for at once: those without a device are what an autoscaler sees. One is enough to begin."""
    return ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors, **limits)


def pipeline(blocks: list[pa.Table], store_uri: str, devices: Devices, pool: dict[str, Any]) -> Dataset:
    """Simulates and commits blocks; its rows are what `Committer` tells of each film.

    Committers are actors, too: they are warm when the first block comes, and an object store's slowness costs threads.
    """
    _silence_ray_data()
    simulated = ray.data.from_arrow(blocks).map_batches(
        FilmSimulator,
        fn_constructor_kwargs={"backend": devices.backend},
        batch_format="pyarrow",
        num_cpus=SIMULATE_CPUS,
        **pool,
    )
    return simulated.map_batches(
        Committer,
        fn_constructor_kwargs={"store_uri": store_uri},
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=COMMIT_CPUS,
        compute=ActorPoolStrategy(
            size=math.ceil(min(devices.actors, len(blocks)) / 2),  # Ray warns of more than will have work
            max_tasks_in_flight_per_actor=2 * COMMITS_AT_ONCE,
            max_concurrent_calls_per_actor=COMMITS_AT_ONCE,
            enable_true_multi_threading=True,
        ),
    )


def committed(results: Dataset) -> Iterator[pa.Table]:
    """Runs the pipeline: what is committed, block by block.

    Raises UserError for what a stage found that the user can mend: Ray passes on what a stage raised as text, in which
    a UserError is told from everything else.
    """
    failure: Exception | None = None
    try:
        yield from results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    except Exception as error:  # noqa: BLE001  # raised below, without its frames
        failure = error
    if failure is not None:
        # The failed pipeline is a cycle with the frames of its errors. Its actors keep their devices until it goes.
        failure.__traceback__ = failure.__cause__ = failure.__context__ = None
        del results
        gc.collect()
        mistake = _as_user_error(failure) if isinstance(failure, UserCodeException) else None
        raise UserError(mistake) if mistake else failure


def _as_user_error(error: UserCodeException) -> str | None:
    found = re.search(rf"^{UserError.__module__}\.{UserError.__name__}: (.+)$", str(error), re.MULTILINE)
    return found[1] if found else None


def _silence_ray_data() -> None:
    """Its messages stay in its log file; the terminal has our own progress."""
    DataContext.get_current().enable_progress_bars = False
    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":
            handler.setLevel(logging.CRITICAL)
