"""The stages of a campaign as Ray Data runs them: blocks → simulators → committers → the driver."""

import gc
import logging
import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray.data
from ray.data import ActorPoolStrategy, DataContext, Dataset

from magray.campaign.simulator import Committer, FilmSimulator
from magray.runtime.errors import as_user_error
from magray.runtime.resources import Devices

# Together less than one core, so that two actors on two cores leave room for a commit.
_SIMULATE_CPUS = 0.9
_COMMIT_CPUS = 0.1
TOGETHER = 10_000  # films, at least
_COMMITS_AT_ONCE = 4  # by each of half as many committers as there are simulators


def blocks_of(plan: pa.Table, films: int) -> Iterator[pa.Table]:
    """Yield the blocks of `films` films of the plan in which any are missing, as its column `wanted` says.

    Together they take as much memory as the plan, unless each is let go before the next.
    """
    for part in _parts_of(plan, films):
        for first in range(0, part.num_rows, films):
            block = part.slice(first, films)
            if pc.any(block["wanted"]).as_py():
                yield block


def _parts_of(plan: pa.Table, films: int) -> Iterator[pa.Table]:
    """Yield parts of a plan whose rows lie together, so that its blocks, of `films` each, have one chunk a column."""
    size = films * math.ceil(TOGETHER / films)
    for first in range(0, plan.num_rows, size):
        yield plan.slice(first, size).unify_dictionaries().combine_chunks()


def cpu_pool(actors: int) -> dict[str, Any]:
    """Return the options of a pool whose actors have a core, and a block at a time, each."""
    # a block is a batch: with a number, Ray Data would join a short block and its neighbour
    return {"batch_size": None, "compute": _pool(actors, max_tasks_in_flight_per_actor=1)}


def gpu_pool(actors: int, gpu_share: float, block_films: int, slots: int) -> dict[str, Any]:
    """Return the options of a pool whose actors have a GPU, blocks that fill its slots, and half as many that wait."""
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
    """Return a pool that asks for all actors at once, so that an autoscaler sees the demand, and begins with one."""
    return ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors, **limits)


def pipeline(blocks: list[pa.Table], store_uri: str, devices: Devices, pool: dict[str, Any]) -> Dataset:
    """Return the pipeline that simulates and commits `blocks_of` a plan; its rows are those of `Committer`.

    Blocks are put and described here, in a millisecond each: from_arrow_refs would have a task of Ray's look at each.
    Committers are actors, too: they are warm when the first block comes, and a slow object store costs only threads.
    """
    _silence_ray_data()
    planned: Dataset = ray.data.from_blocks(blocks)
    simulated = planned.map_batches(
        FilmSimulator,
        fn_constructor_kwargs={"backend": devices.backend},
        batch_format="pyarrow",
        num_cpus=_SIMULATE_CPUS,
        **pool,
    )
    return simulated.map_batches(
        Committer,
        fn_constructor_kwargs={"store_uri": store_uri},
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=_COMMIT_CPUS,
        compute=ActorPoolStrategy(
            size=math.ceil(min(devices.actors, len(blocks)) / 2),  # Ray warns of more than will have work
            max_tasks_in_flight_per_actor=2 * _COMMITS_AT_ONCE,
            max_concurrent_calls_per_actor=_COMMITS_AT_ONCE,
            enable_true_multi_threading=True,
        ),
    )


def committed(results: Dataset) -> Iterator[pa.Table]:
    """Run the pipeline and yield the results of what is committed, block by block.

    Raises UserError for an error of a stage that the user can put right.
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
        raise as_user_error(failure)


def _silence_ray_data() -> None:
    """Keep Ray Data's messages in its log file; the terminal has our own progress."""
    DataContext.get_current().enable_progress_bars = False
    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":
            handler.setLevel(logging.CRITICAL)
