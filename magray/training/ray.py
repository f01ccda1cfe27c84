"""Train on one GPU or a machine's cores in a Ray task, or by Ray Train on several workers that share every batch.

An interrupted training continues from its last checkpoint when it is started again with the same spec.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayTaskError

from magray.config import FEWEST_FILMS
from magray.network.branches import own_device
from magray.runtime.errors import as_user_error
from magray.training.checkpoint import save_state
from magray.training.progress import EpochLog, Listener
from magray.training.spec import TrainingSpec
from magray.training.trainer import State, Trainer

STATE_FILE = "training.pt"
EPOCHS_FILE = "epochs.jsonl"
WORKER_FAILURES = 3  # that are tolerated; after each the fit continues from its last checkpoint
# Activations are allocated and freed at every step. With these settings glibc keeps their memory, in large pages. By
# default it returns it to the kernel, which then clears it page by page: that takes as long as the arithmetic.
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


def train(
    spec: TrainingSpec, workers: int, work_folder: Path, progress: bool, listeners: Sequence[Listener] = ()
) -> State:
    """Return the state of the finished training, with its last `loss`, the `views` of an epoch, and its `calibration`.

    workers: processes, each with a GPU if the cluster has as many, otherwise with a share of a machine's cores.
    listeners: told of each epoch, in this process.
    Raises UserError for what a retry would not mend, such as a loss that diverges.
    """
    folder = work_folder / spec.name
    folder.mkdir(parents=True, exist_ok=True)
    epochs = EpochLog(folder / EPOCHS_FILE)
    with epochs.shown(spec.config.epochs, progress, listeners):
        if workers == 1:
            return _train_in_a_task(spec, folder / STATE_FILE, epochs)
        from magray.training.workers import train_on_workers  # Ray Train takes seconds to import

        return train_on_workers(spec, workers, work_folder, epochs)


def _train_in_a_task(spec: TrainingSpec, checkpoint: Path, epochs: EpochLog) -> State:
    """Train in one Ray task, which is retried if its process dies.

    Ray Train would do the same with four more processes, in 15 s more on two cores.
    """
    threads, gpus = share(1)
    task: Any = ray.remote(training_process).options(
        num_cpus=threads, num_gpus=gpus, max_retries=WORKER_FAILURES, runtime_env={"env_vars": KEEP_MEMORY}
    )
    running = task.remote(spec, threads, str(checkpoint), epochs)
    try:
        state: State = ray.get(running)
    except KeyboardInterrupt:
        ray.cancel(running, force=True)
        raise
    except RayTaskError as error:
        raise as_user_error(error) from None
    return state


def training_process(spec: TrainingSpec, threads: int, checkpoint: str, epochs: EpochLog) -> State:
    """Train on this process's GPU or cores, and return the final state. The checkpoint is replaced atomically."""
    torch.set_num_threads(threads)
    device, path = own_device(), Path(checkpoint)
    state: State = torch.load(path, map_location=device, weights_only=True) if path.exists() else {}

    def keep(trainer: Trainer, loss: float) -> None:
        state.update(state_of(trainer, spec, loss))
        save_state(state, path)

    run_epochs(spec, device, state.get("films_at_once") or films_at_once(spec, device), state, epochs, keep)
    return {"network": {name: tensor.cpu() for name, tensor in state["network"].items()}} | {
        name: state[name] for name in ("loss", "views", "films_at_once", "calibration")
    }


def run_epochs(
    spec: TrainingSpec,
    device: torch.device,
    at_once: int,
    state: State,
    epochs: EpochLog,
    keep: Callable[[Trainer, float], None],
    rank: int = 0,
    workers: int = 1,
) -> None:
    """Train from `state` to the last epoch. keep: called with the trainer and its loss when a checkpoint is due."""
    reduce = torch.distributed.all_reduce if workers > 1 else None
    with spec.films(device, at_once) as films:
        trainer = Trainer(films, spec.config, rank, workers, reduce, initialise=spec.initialise)
        if state:
            trainer.load(state)
        while trainer.epoch < spec.config.epochs:
            start = time.monotonic()
            loss = trainer.run_epoch()
            if rank == 0:
                epochs.add(trainer.epoch, loss, trainer.views, time.monotonic() - start)
            if trainer.epoch % spec.config.checkpoint_epochs == 0 or trainer.epoch == spec.config.epochs:
                keep(trainer, loss)


def films_at_once(spec: TrainingSpec, device: torch.device, workers: int = 1) -> int:
    """Return the number of films that each of `workers` holds on its device: all of them if possible.

    Otherwise as many as the spec says, or as fit into half of the free memory of the GPU; without one, into half of the
    worker's share of the memory that Ray found on the machine.
    """
    total = len(spec.film_ids)
    if spec.films_at_once is not None:
        return min(spec.films_at_once, total)
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        node_id = ray.get_runtime_context().get_node_id()
        (resources,) = (node["Resources"] for node in ray.nodes() if node["NodeID"] == node_id)  # type: ignore[no-untyped-call]
        free = int(resources["memory"]) // workers
    height, width = spec.shape
    return min(max(free // 2 // (height * width), FEWEST_FILMS), total)


def state_of(trainer: Trainer, spec: TrainingSpec, loss: float) -> State:
    """Return the content of a checkpoint, with the calibration of a finished network."""
    at_once = len(trainer.films.images)
    state = trainer.state() | {"loss": loss, "views": trainer.views, "films_at_once": at_once}
    if trainer.epoch == spec.config.epochs:
        state["calibration"] = asdict(spec.calibration(trainer.network, at_once))
    return state


def share(workers: int) -> tuple[int, int]:
    """Return the cores and GPUs of each worker: one GPU if there are enough, and a share of a machine's cores."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    gpus = sum(int(resources.get("GPU", 0)) for resources in nodes)
    with_gpu = [resources for resources in nodes if resources.get("GPU", 0) >= 1]
    if gpus >= workers:  # cores for one worker per GPU, so that as many fits as GPUs can run at the same time
        return max(1, min(int(node.get("CPU", 1) / node["GPU"]) for node in with_gpu)), 1
    return max(1, max(int(resources.get("CPU", 1)) for resources in nodes) // workers), 0
