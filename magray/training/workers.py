"""Train by Ray Train on several workers that share every batch."""

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
from ray.train import ControllerError, WorkerGroupError

from magray.errors import UserError
from magray.runtime.errors import as_user_error
from magray.training.checkpoint import save_state
from magray.training.progress import EpochLog
from magray.training.ray import (
    KEEP_MEMORY,
    STATE_FILE,
    WORKER_FAILURES,
    films_at_once,
    run_epochs,
    share,
    state_of,
)
from magray.training.spec import TrainingSpec
from magray.training.trainer import State, Trainer

# By default Ray Train polls its workers every 2 s, and a worker waits until its last checkpoint has been noticed.
POLL_OFTEN = ("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")


def train_on_workers(spec: TrainingSpec, workers: int, work_folder: Path, epochs: EpochLog) -> State:
    """Train on several workers of Ray Train."""
    os.environ.setdefault(*POLL_OFTEN)
    threads, gpus = share(workers)
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

    run_epochs(spec, device, at_once, state, settings["epochs"], keep, rank, workers)


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
            save_state(state_of(trainer, spec, loss), Path(folder) / STATE_FILE)
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report({"loss": loss}, checkpoint=checkpoint)


def _read(checkpoint: ray.train.Checkpoint, device: torch.device) -> State:
    """Return the state in a checkpoint, with its tensors on `device`."""
    with checkpoint.as_directory() as folder:
        state: State = torch.load(Path(folder) / STATE_FILE, map_location=device, weights_only=True)
    return state


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
