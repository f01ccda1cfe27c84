"""Choose the devices of a campaign: the cluster's GPUs or cores, and how many actors share them."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import ray
from ray.util.placement_group import placement_group, remove_placement_group

from magray.errors import UserError
from magray.runtime.events import EventLog

GPU_WAIT_SECONDS = 900.0  # for the GPUs of an autoscaler: spot nodes may never come


@dataclass(frozen=True)
class Devices:
    """The solver's backend, the actors that a campaign may have at once, and the share of a GPU that each takes."""

    backend: str
    actors: int
    gpu_share: float

    @property
    def on_gpus(self) -> bool:
        """Return whether the actors have GPUs."""
        return self.backend == "cupy"


def choose_devices(backend: str, actors: int | None, gpu_share: float, events: EventLog) -> Devices:
    """Return the devices of the cluster that this process is connected to.

    actors: at most so many, by default one for each core or share of a GPU that is there now. A cluster that was joined
    by its address may have fewer: the others begin when its autoscaler brings their nodes; a first GPU is waited for.
    Raises UserError if the backend has no device, or a local cluster too few.
    """
    if backend == "cupy" and actors and _external_cluster() and gpus() < 1:
        wait_for_gpus(1, events.notify)
    backend = _on_workers(backend)
    room = int(gpus() / gpu_share) if backend == "cupy" else int(_resources().get("CPU", 0))
    if actors is None:
        return Devices(backend, max(room, 1), gpu_share)
    if actors > room:
        things = "GPUs" if backend == "cupy" else "cores"
        if not _external_cluster():
            raise UserError(f"actors must lie between 1 and the {room} {things} of the cluster, not {actors}")
        events.notify(f"{actors} actors are asked for and {room} have {things} now; the others begin when theirs come")
    return Devices(backend, actors, gpu_share)


def _external_cluster() -> bool:
    """Return whether the cluster was there before this process, and may grow; a job's driver has its address, too."""
    return os.environ.get("RAY_ADDRESS", "local") not in ("", "local")


def gpus() -> float:
    """Return the number of GPUs that the cluster has now."""
    return _resources().get("GPU", 0)


def _resources() -> dict[str, float]:
    """Return what the cluster's nodes have: CPU, GPU and so on."""
    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]


def wait_for_gpus(count: int, notify: Callable[[str], None]) -> None:
    """Have the autoscaler start nodes until the cluster has `count` GPUs, or fewer after GPU_WAIT_SECONDS.

    The demand is a placement group, which goes with this driver, however it ends: nothing keeps an expensive node alive
    after that. Raises UserError if not a single GPU has come.
    """
    if gpus() >= count:
        return
    notify(f"{gpus():g} of {count} GPUs are here: waiting up to {GPU_WAIT_SECONDS / 60:.0f} min for the autoscaler's")
    start, demand = time.monotonic(), placement_group([{"GPU": 1.0}] * count)
    try:
        demand.wait(timeout_seconds=GPU_WAIT_SECONDS)
    finally:
        remove_placement_group(demand)
    if gpus() < 1:
        raise UserError(
            f"no GPU has come within {GPU_WAIT_SECONDS / 60:.0f} min; `ray status` shows what the autoscaler waits "
            "for; set simulate.backend to cpu to use cores"
        )
    notify(f"{gpus():g} of {count} GPUs are here after {time.monotonic() - start:.0f} s")


def _on_workers(backend: str) -> str:
    """Return the backend that `backend` means on the cluster's workers, whose devices may differ from the driver's."""
    if gpus() > 0:
        return str(ray.get(ray.remote(_resolve).options(num_gpus=0.01, num_cpus=0).remote(backend)))
    if backend == "cupy" and _external_cluster():
        raise UserError(
            "the cluster has no GPU: set simulate.actors to wait for those that its autoscaler brings, "
            "or simulate.backend to cpu"
        )
    return _resolve("cpu" if backend == "auto" else backend)


def _resolve(backend: str) -> str:
    from magray.micromagnetics.solver import resolve_backend

    return resolve_backend(backend)
