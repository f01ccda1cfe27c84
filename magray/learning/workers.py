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
from ray.util.queue import Queue

from magray.learning.lesson import Lesson
from magray.learning.network import own_device
from magray.learning.progress import FitProgress
from magray.learning.recipe import Recipe
from magray.learning.training import State, Training
from magray.whole import whole_file

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


def learn(lesson: Lesson, workers: int, work_folder: Path, progress: bool) -> State:
    """The state of the finished training, with its last `loss`, the `views` of an epoch, and its `calibration`.

    workers: one, on a GPU if the cluster has any, otherwise on all cores of a machine; or several, by Ray Train.
    """
    with _shown(lesson.recipe.epochs, progress) as news:
        if workers == 1:
            return _learn_alone(lesson, work_folder / lesson.name / STATE_FILE, news)
        return _learn_together(lesson, workers, work_folder, news)


def _learn_alone(lesson: Lesson, checkpoint: Path, news: Queue) -> State:
    """In one task of Ray's, which is started again should its process die."""
    threads, gpus = _share(1)
    task: Any = ray.remote(training_process).options(
        num_cpus=threads, num_gpus=gpus, max_retries=WORKER_FAILURES, runtime_env={"env_vars": KEEP_MEMORY}
    )
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    running = task.remote(lesson, threads, str(checkpoint), news)
    try:
        state: State = ray.get(running)
    except KeyboardInterrupt:
        ray.cancel(running, force=True)
        raise
    return state


def training_process(lesson: Lesson, threads: int, checkpoint: str, news: Queue) -> State:
    """A whole training on this process's GPU or cores. The checkpoint is replaced as a whole, never half-written."""
    torch.set_num_threads(threads)
    device = own_device()
    training = Training(lesson.films(device), lesson.recipe)
    state: State = {}
    if Path(checkpoint).exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        training.load(state)

    def keep(loss: float) -> None:
        state.update(_state(training, lesson, loss))
        with whole_file(Path(checkpoint)) as unfinished:
            torch.save(state, unfinished)

    _run(training, lesson.recipe, lambda *epoch: news.put(epoch), keep)
    return {"network": {name: tensor.cpu() for name, tensor in state["network"].items()}} | {
        name: state[name] for name in ("loss", "views", "calibration")
    }


def _state(training: Training, lesson: Lesson, loss: float) -> State:
    """What a checkpoint holds; with the errors of the finished network, which are measured where it is."""
    state = training.state() | {"loss": loss, "views": training.views}
    if training.epoch == lesson.recipe.epochs:
        state["calibration"] = asdict(lesson.calibration(training.network))
    return state


def _run(training: Training, recipe: Recipe, tell: Tell, keep: Callable[[float], None]) -> None:
    """Epoch after epoch; `keep` is given the loss of those that are to be kept."""
    while training.epoch < recipe.epochs:
        start = time.monotonic()
        loss = training.run_epoch()
        tell(training.epoch, loss, training.views, time.monotonic() - start)
        if training.epoch % recipe.checkpoint_epochs == 0 or training.epoch == recipe.epochs:
            keep(loss)


def _learn_together(lesson: Lesson, workers: int, work_folder: Path, news: Queue) -> State:
    os.environ.setdefault(*LOOK_OFTEN)
    threads, gpus = _share(workers)
    scaling = ray.train.ScalingConfig(
        num_workers=workers, use_gpu=gpus > 0, resources_per_worker={"CPU": threads, "GPU": gpus}
    )
    run = ray.train.RunConfig(  # type: ignore[call-arg]  # declared as that of the older Train
        name=lesson.name,
        storage_path=str(work_folder),
        checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
        failure_config=ray.train.FailureConfig(max_failures=WORKER_FAILURES),
        worker_runtime_env={"env_vars": KEEP_MEMORY},
    )
    settings = {"lesson": lesson, "threads": threads, "news": news}
    trainer = ray.train.torch.TorchTrainer(_work, train_loop_config=settings, scaling_config=scaling, run_config=run)
    with _ordinary_interrupt():
        result = trainer.fit()
    assert result.checkpoint is not None  # the last epoch made one
    return _read(result.checkpoint, torch.device("cpu"))


def _work(settings: dict[str, Any]) -> None:
    """A worker's whole life. Ray Train runs it in a process with its own GPU or cores."""
    lesson, news = settings["lesson"], settings["news"]
    torch.set_num_threads(settings["threads"])
    context, device = ray.train.get_context(), ray.train.torch.get_device()
    rank, workers = context.get_world_rank(), context.get_world_size()
    training = Training(lesson.films(device), lesson.recipe, rank, workers, torch.distributed.all_reduce)
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        training.load(_read(checkpoint, device))

    def tell(*epoch: float) -> None:
        if rank == 0:
            news.put(epoch)

    _run(training, lesson.recipe, tell, lambda loss: _report(training, lesson, loss, rank))


def _report(training: Training, lesson: Lesson, loss: float, rank: int) -> None:
    """Commits a checkpoint, which the first worker writes."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if rank == 0:
            torch.save(_state(training, lesson, loss), Path(folder) / STATE_FILE)
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
