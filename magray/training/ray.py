"""Train on one GPU or a machine's cores, or by Ray Train on several workers that share every batch.

An interrupted training continues from its last checkpoint when it is started again with the same spec.
"""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from ray.exceptions import RayTaskError
from ray.train import ControllerError, WorkerGroupError
from ray.util.queue import Queue

from magray.config import FEWEST_FILMS
from magray.errors import UserError
from magray.network.branches import own_device
from magray.runtime.errors import as_user_error
from magray.training.checkpoint import save_state
from magray.training.progress import FitProgress
from magray.training.spec import TrainingSpec
from magray.training.trainer import State, Trainer

STATE_FILE = "training.pt"
WORKER_FAILURES = 3  # that are tolerated; after each the fit continues from its last checkpoint
# Activations are allocated and freed at every step. With these settings glibc keeps their memory, in large pages. By
# default it returns it to the kernel, which then clears it page by page: that takes as long as the arithmetic.
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
# By default Ray Train polls its workers every 2 s, and a worker waits until its last checkpoint has been noticed.
POLL_OFTEN = ("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")


def train(spec: TrainingSpec, workers: int, work_folder: Path, progress: bool) -> State:
    """Return the state of the finished training, with its last `loss`, the `views` of an epoch, and its `calibration`.

    workers: processes, each with a GPU if the cluster has as many, otherwise with a share of a machine's cores.
    Raises UserError for what a retry would not mend, such as a loss that diverges.
    """
    with _progress(spec.config.epochs, progress) as epochs:
        if workers == 1:
            return _train_in_a_task(spec, work_folder / spec.name / STATE_FILE, epochs)
        return _train_on_workers(spec, workers, work_folder, epochs)


def _train_in_a_task(spec: TrainingSpec, checkpoint: Path, epochs: Queue) -> State:
    """Train in one Ray task, which is retried if its process dies.

    Ray Train would do the same with four more processes, in 15 s more on two cores.
    """
    threads, gpus = _share(1)
    task: Any = ray.remote(training_process).options(
        num_cpus=threads, num_gpus=gpus, max_retries=WORKER_FAILURES, runtime_env={"env_vars": KEEP_MEMORY}
    )
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    running = task.remote(spec, threads, str(checkpoint), epochs)
    try:
        state: State = ray.get(running)
    except KeyboardInterrupt:
        ray.cancel(running, force=True)
        raise
    except RayTaskError as error:
        raise as_user_error(error) from None
    return state


def training_process(spec: TrainingSpec, threads: int, checkpoint: str, epochs: Queue) -> State:
    """Train on this process's GPU or cores, and return the final state. The checkpoint is replaced atomically."""
    torch.set_num_threads(threads)
    device, path = own_device(), Path(checkpoint)
    state: State = torch.load(path, map_location=device, weights_only=True) if path.exists() else {}

    def keep(trainer: Trainer, loss: float) -> None:
        state.update(_state(trainer, spec, loss))
        save_state(state, path)

    _run_epochs(spec, device, state.get("films_at_once") or films_at_once(spec, device), state, epochs, keep)
    return {"network": {name: tensor.cpu() for name, tensor in state["network"].items()}} | {
        name: state[name] for name in ("loss", "views", "films_at_once", "calibration")
    }


def _train_on_workers(spec: TrainingSpec, workers: int, work_folder: Path, epochs: Queue) -> State:
    """Train on several workers of Ray Train."""
    os.environ.setdefault(*POLL_OFTEN)
    threads, gpus = _share(workers)
    trainer = ray.train.torch.TorchTrainer(
        _work,
        train_loop_config={"spec": spec, "threads": threads, "epochs": epochs},
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers, use_gpu=gpus > 0, resources_per_worker={"CPU": threads, "GPU": gpus}
        ),
        run_config=ray.train.RunConfig(  # type: ignore[call-arg]  # typed as in Ray Train's older version
            name=spec.name,
            storage_path=str(work_folder),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            failure_config=ray.train.FailureConfig(max_failures=WORKER_FAILURES),
            callbacks=[_StopOnUserError()],  # type: ignore[list-item]  # likewise
            worker_runtime_env={"env_vars": KEEP_MEMORY},
        ),
    )
    try:
        with _ordinary_interrupt():
            result = trainer.fit()
    except ControllerError as error:
        raise as_user_error(error.controller_failure) from None
    except WorkerGroupError as error:
        raise as_user_error(next(iter(error.worker_failures.values()))) from None
    assert result.checkpoint is not None  # the last epoch made one
    return _read(result.checkpoint, torch.device("cpu"))


class _StopOnUserError(ray.train.UserCallback):
    """End the training at a UserError, which no retry would mend."""

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:  # noqa: ARG002
        """Raise the UserError of a worker that failed with one: Ray Train does not retry after a callback's error."""
        for error in map(as_user_error, worker_exceptions.values()):
            if isinstance(error, UserError):
                raise error


def _work(settings: dict[str, Any]) -> None:
    """Train in a worker process of Ray Train, with its own GPU or cores."""
    spec: TrainingSpec = settings["spec"]
    torch.set_num_threads(settings["threads"])
    context, device = ray.train.get_context(), ray.train.torch.get_device()
    rank, workers = context.get_world_rank(), context.get_world_size()
    checkpoint = ray.train.get_checkpoint()
    state = {} if checkpoint is None else _read(checkpoint, device)
    at_once = state.get("films_at_once") or _fewest(films_at_once(spec, device, workers), device)

    def keep(trainer: Trainer, loss: float) -> None:
        _report(trainer, spec, loss, rank)

    _run_epochs(spec, device, at_once, state, settings["epochs"], keep, rank, workers)


def _run_epochs(
    spec: TrainingSpec,
    device: torch.device,
    at_once: int,
    state: State,
    epochs: Queue,
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
                epochs.put((trainer.epoch, loss, trainer.views, time.monotonic() - start))
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


def _state(trainer: Trainer, spec: TrainingSpec, loss: float) -> State:
    """Return the content of a checkpoint, with the calibration of a finished network."""
    at_once = len(trainer.films.images)
    state = trainer.state() | {"loss": loss, "views": trainer.views, "films_at_once": at_once}
    if trainer.epoch == spec.config.epochs:
        state["calibration"] = asdict(spec.calibration(trainer.network, at_once))
    return state


def _fewest(films: int, device: torch.device) -> int:
    """Return the smallest number of all workers, since all must use the same chunks."""
    least = torch.tensor(films, device=device)
    torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
    return int(least)


def _report(trainer: Trainer, spec: TrainingSpec, loss: float, rank: int) -> None:
    """Report a checkpoint to Ray Train; the first worker writes it."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if rank == 0:
            save_state(_state(trainer, spec, loss), Path(folder) / STATE_FILE)
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report({"loss": loss}, checkpoint=checkpoint)


def _read(checkpoint: ray.train.Checkpoint, device: torch.device) -> State:
    """Return the state in a checkpoint, with its tensors on `device`."""
    with checkpoint.as_directory() as folder:
        state: State = torch.load(Path(folder) / STATE_FILE, map_location=device, weights_only=True)
    return state


def _share(workers: int) -> tuple[int, int]:
    """Return the cores and GPUs of each worker: one GPU if there are enough, and a share of a machine's cores."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    gpus = sum(int(resources.get("GPU", 0)) for resources in nodes)
    with_gpu = [resources for resources in nodes if resources.get("GPU", 0) >= 1]
    if gpus >= workers:  # cores for one worker per GPU, so that as many fits as GPUs can run at the same time
        return max(1, min(int(node.get("CPU", 1) / node["GPU"]) for node in with_gpu)), 1
    return max(1, max(int(resources.get("CPU", 1)) for resources in nodes) // workers), 0


@contextmanager
def _ordinary_interrupt() -> Iterator[None]:
    """Make Ctrl-C raise KeyboardInterrupt.

    Ray Train would exit with status 0, and leave its own signal handler installed after the fit.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        raise KeyboardInterrupt from end
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


@contextmanager
def _progress(epochs: int, show: bool) -> Iterator[Queue]:
    """Yield a queue for finished epochs (epoch, loss, views, seconds), and show them as they come."""
    finished = Queue(actor_options={"num_cpus": 0})

    def follow() -> None:
        while (epoch := finished.get()) is not None:
            bar.add(*epoch)

    with FitProgress(epochs, show) as bar:
        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield finished
        finally:
            finished.put(None)
            thread.join()
            finished.shutdown()
