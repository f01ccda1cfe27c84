"""The processes that a training runs in: one with a GPU or a machine's cores, or several that share batches.

A training that was cut short goes on from its last checkpoint when it is started again with the same lesson.
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
from ray.train import WorkerGroupError
from ray.util.queue import Queue

from magray.config import FEWEST_FILMS
from magray.errors import UserError, in_words
from magray.network.branches import own_device
from magray.training.checkpoint import save_state
from magray.training.config import TrainConfig
from magray.training.progress import FitProgress
from magray.training.spec import TrainingSpec
from magray.training.trainer import State, Trainer

STATE_FILE = "training.pt"
WORKER_FAILURES = 3  # after each the fit goes on from its last checkpoint
# A batch's activations come and go with every step. With these glibc keeps their memory, in large pages, instead of
# returning it to the kernel, which has to clear it page by page: that takes as long as the arithmetic.
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
# Ray Train looks at its workers every 2 s, and a worker waits until its last checkpoint has been seen.
LOOK_OFTEN = ("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
Tell = Callable[[int, float, int, float], None]  # epochs done, loss, views and seconds of the last


def learn(spec: TrainingSpec, workers: int, work_folder: Path, progress: bool) -> State:
    """The state of the finished training, with its last `loss`, the `views` of an epoch, and its `calibration`.

    workers: one, on a GPU if the cluster has any, otherwise on all cores of a machine; or several, by Ray Train.
    """
    with _shown(spec.config.epochs, progress) as news:
        if workers == 1:
            return _train_alone(spec, work_folder / spec.name / STATE_FILE, news)
        return _train_on_workers(spec, workers, work_folder, news)


def _train_alone(spec: TrainingSpec, checkpoint: Path, news: Queue) -> State:
    """In one task of Ray's, which is started again should its process die."""
    threads, gpus = _share(1)
    task: Any = ray.remote(training_process).options(
        num_cpus=threads, num_gpus=gpus, max_retries=WORKER_FAILURES, runtime_env={"env_vars": KEEP_MEMORY}
    )
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    running = task.remote(spec, threads, str(checkpoint), news)
    try:
        state: State = ray.get(running)
    except KeyboardInterrupt:
        ray.cancel(running, force=True)
        raise
    except RayTaskError as error:
        raise _as_user_error(error) from None
    return state


def training_process(spec: TrainingSpec, threads: int, checkpoint: str, news: Queue) -> State:
    """A whole training on this process's GPU or cores. The checkpoint is replaced as a whole, never half-written."""
    torch.set_num_threads(threads)
    device = own_device()
    state: State = {}
    if Path(checkpoint).exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
    with spec.films(device, state.get("films_at_once") or films_at_once(spec, device)) as films:
        trainer = Trainer(films, spec.config)
        if state:
            trainer.load(state)

        def keep(loss: float) -> None:
            state.update(_state(trainer, spec, loss))
            save_state(state, Path(checkpoint))

        _run(trainer, spec.config, lambda *epoch: news.put(epoch), keep)
    return {"network": {name: tensor.cpu() for name, tensor in state["network"].items()}} | {
        name: state[name] for name in ("loss", "views", "films_at_once", "calibration")
    }


def films_at_once(spec: TrainingSpec, device: torch.device, workers: int = 1) -> int:
    """Return the number of films that each of `workers` holds on its device.

    All of them, or as many as the lesson says, or as half of a GPU's free memory has room for. A machine's memory is
    what Ray takes it to be, of which each worker has a share.
    """
    every = len(spec.film_ids)
    if spec.films_at_once is not None:
        return min(spec.films_at_once, every)
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        here = ray.get_runtime_context().get_node_id()
        (resources,) = (node["Resources"] for node in ray.nodes() if node["NodeID"] == here)  # type: ignore[no-untyped-call]
        free = int(resources["memory"]) // workers
    height, width = spec.shape
    return min(max(free // 2 // (height * width), FEWEST_FILMS), every)


def _state(trainer: Trainer, spec: TrainingSpec, loss: float) -> State:
    """Return the content of a checkpoint, with the calibration of a finished network."""
    at_once = len(trainer.films.images)
    state = trainer.state() | {"loss": loss, "views": trainer.views, "films_at_once": at_once}
    if trainer.epoch == spec.config.epochs:
        state["calibration"] = asdict(spec.calibration(trainer.network, at_once))
    return state


def _run(trainer: Trainer, config: TrainConfig, tell: Tell, keep: Callable[[float], None]) -> None:
    """Epoch after epoch; `keep` is given the loss of those that are to be kept."""
    while trainer.epoch < config.epochs:
        start = time.monotonic()
        loss = trainer.run_epoch()
        tell(trainer.epoch, loss, trainer.views, time.monotonic() - start)
        if trainer.epoch % config.checkpoint_epochs == 0 or trainer.epoch == config.epochs:
            keep(loss)


def _train_on_workers(spec: TrainingSpec, workers: int, work_folder: Path, news: Queue) -> State:
    os.environ.setdefault(*LOOK_OFTEN)
    threads, gpus = _share(workers)
    scaling = ray.train.ScalingConfig(
        num_workers=workers, use_gpu=gpus > 0, resources_per_worker={"CPU": threads, "GPU": gpus}
    )
    run = ray.train.RunConfig(  # type: ignore[call-arg]  # declared as that of the older Train
        name=spec.name,
        storage_path=str(work_folder),
        checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
        failure_config=ray.train.FailureConfig(max_failures=WORKER_FAILURES),
        worker_runtime_env={"env_vars": KEEP_MEMORY},
    )
    settings = {"lesson": spec, "threads": threads, "news": news}
    trainer = ray.train.torch.TorchTrainer(_work, train_loop_config=settings, scaling_config=scaling, run_config=run)
    try:
        with _ordinary_interrupt():
            result = trainer.fit()
    except WorkerGroupError as error:
        told = (found for found in map(_as_user_error, error.worker_failures.values()) if isinstance(found, UserError))
        raise next(told, error) from None
    assert result.checkpoint is not None  # the last epoch made one
    return _read(result.checkpoint, torch.device("cpu"))


def _work(settings: dict[str, Any]) -> None:
    """A worker's whole life. Ray Train runs it in a process with its own GPU or cores."""
    spec, news = settings["lesson"], settings["news"]
    torch.set_num_threads(settings["threads"])
    context, device = ray.train.get_context(), ray.train.torch.get_device()
    rank, workers = context.get_world_rank(), context.get_world_size()
    checkpoint = ray.train.get_checkpoint()
    state = {} if checkpoint is None else _read(checkpoint, device)
    with spec.films(
        device, state.get("films_at_once") or _fewest(films_at_once(spec, device, workers), device)
    ) as films:
        trainer = Trainer(films, spec.config, rank, workers, torch.distributed.all_reduce)
        if state:
            trainer.load(state)

        def tell(*epoch: float) -> None:
            if rank == 0:
                news.put(epoch)

        _run(trainer, spec.config, tell, lambda loss: _report(trainer, spec, loss, rank))


def _fewest(films: int, device: torch.device) -> int:
    """The least number of any worker's: all must show the same windows."""
    least = torch.tensor(films, device=device)
    torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
    return int(least)


def _report(trainer: Trainer, spec: TrainingSpec, loss: float, rank: int) -> None:
    """Commits a checkpoint, which the first worker writes."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if rank == 0:
            save_state(_state(trainer, spec, loss), Path(folder) / STATE_FILE)
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report({"loss": loss}, checkpoint=checkpoint)


def _read(checkpoint: ray.train.Checkpoint, device: torch.device) -> State:
    with checkpoint.as_directory() as folder:
        state: State = torch.load(Path(folder) / STATE_FILE, map_location=device, weights_only=True)
    return state


def _share(workers: int) -> tuple[int, int]:
    """The cores and the GPUs of each of so many workers: a GPU each if there are as many, and a part of a machine."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    gpus = sum(int(resources.get("GPU", 0)) for resources in nodes)
    with_gpu = [resources for resources in nodes if resources.get("GPU", 0) >= 1]
    if gpus >= workers:  # as many fits side by side as there are GPUs
        return max(1, min(int(node.get("CPU", 1) / node["GPU"]) for node in with_gpu)), 1
    return max(1, max(int(resources.get("CPU", 1)) for resources in nodes) // workers), 0


def _as_user_error(error: Exception) -> Exception:
    """Return the UserError inside a worker's error, without the frames that Ray puts around it; or else `error`."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, OSError) and cause.errno:
        return UserError(in_words(cause))
    return UserError(str(cause)) if isinstance(cause, UserError) else error


@contextmanager
def _ordinary_interrupt() -> Iterator[None]:
    """Ctrl-C is a KeyboardInterrupt. Ray Train would exit as if all were well, and go on catching it after the fit."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        raise KeyboardInterrupt from end
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


@contextmanager
def _shown(epochs: int, progress: bool) -> Iterator[Queue]:
    """A queue for (epoch, loss, views, seconds) of the finished epochs, which are shown as they come."""
    news = Queue(actor_options={"num_cpus": 0})

    def show() -> None:
        while (epoch := news.get()) is not None:
            bar.add(*epoch)

    with FitProgress(epochs, progress) as bar:
        thread = threading.Thread(target=show, daemon=True)
        thread.start()
        try:
            yield news
        finally:
            news.put(None)
            thread.join()
            news.shutdown()
