"""A fit: from the films of a store to an estimator's folder, by Ray Train.

A fit that was cut short goes on from its last checkpoint when it is run again with the same films and settings.
"""

import hashlib
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import ray
import ray.train
import ray.train.torch
import torch
from numpy.typing import NDArray
from ray.util.queue import Queue

from magray.campaign import connect
from magray.config import FitConfig
from magray.errors import UserError
from magray.imaging import cells_of
from magray.learning.batches import ORIENTATIONS, TrainingFilms
from magray.learning.calibration import calibrate
from magray.learning.estimator import Calibration, Description, Estimator, Target
from magray.learning.network import paper_cnn
from magray.learning.progress import FitProgress
from magray.learning.training import Training
from magray.store import Store, open_store

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


@dataclass(frozen=True)
class FitSummary:
    """What a fit did. loss: of its last epoch, in variances of the targets. seconds: of this call, with start-up."""

    folder: Path
    training_films: int
    calibration_films: int
    views: int
    loss: float
    seconds: float


@dataclass(frozen=True)
class Lesson:
    """What a worker needs: it reads the films from the store by itself."""

    store_uri: str
    film_ids: tuple[str, ...]
    standardised: tuple[tuple[float, ...], ...]  # by film, then target
    sides: tuple[int, ...]
    config: FitConfig
    threads: int


def fit(
    store_uri: str,
    config: FitConfig,
    scales: tuple[float, ...],
    folder: str | Path,
    work_folder: str | Path,
    progress: bool = True,
    workers: int | None = None,
) -> FitSummary:
    """Fits an estimator of `config.targets` to the store's training films at `scales`, µm, and saves it in `folder`.

    Checkpoints go to `work_folder`. workers: processes that share every batch; by default one on each GPU of the
    cluster, or one on all cores of a machine.
    Raises UserError if the store has too few films, or no differences between them to learn from.
    """
    start = time.monotonic()
    os.environ.setdefault(*LOOK_OFTEN)
    connect()
    store = open_store(store_uri)
    training, calibration, pixel_nm = _divided(store, config)
    sides = _sides(store, scales, pixel_nm)
    targets = tuple(_target(store, name, training[name]) for name in config.targets)
    means, spreads = ([getattr(target, name) for target in targets] for name in ("mean", "spread"))
    threads, scaling = _scaling(workers)
    lesson = Lesson(
        store_uri=store.uri,
        film_ids=tuple(training["film_id"]),
        standardised=tuple(map(tuple, ((_values(training, config) - means) / spreads).tolist())),
        sides=sides,
        config=config,
        threads=threads,
    )
    state, loss = _train(lesson, scaling, Path(work_folder).absolute(), progress)
    network = paper_cnn(len(targets))
    network.load_state_dict(state["network"])
    provenance = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "campaign": store.campaign,
        "fit": config.model_dump(mode="json", exclude={"train_scales"}),
        "views": state["views"] * config.epochs,
        "loss": loss,
        "versions": {name: version(name) for name in ("magray", "ray", "torch")},
    }
    description = Description(targets, scales, len(lesson.film_ids), Calibration((), {}, 0), provenance)
    estimator = Estimator(network, description)
    errors = calibrate(estimator, store.images(calibration["film_id"]), _values(calibration, config), pixel_nm)
    Estimator(network, replace(description, calibration=errors)).save(folder)
    return FitSummary(
        folder=Path(folder),
        training_films=len(lesson.film_ids),
        calibration_films=errors.films,
        views=provenance["views"],
        loss=loss,
        seconds=time.monotonic() - start,
    )


def calibration_ids(film_ids: list[str], fraction: float) -> set[str]:
    """The `fraction` of training films, at least one, that is kept for the error bars: a matter of their ids alone."""
    ordered = sorted(film_ids, key=lambda film_id: hashlib.sha256(film_id.encode()).digest())
    return set(ordered[: max(1, round(fraction * len(ordered)))])


Rows = dict[str, list[Any]]


def _divided(store: Store, config: FitConfig) -> tuple[Rows, Rows, float]:
    """The films to train on, those to calibrate with (columns film_id and the targets), and their pixel, nm."""
    wanted = (pc.field("split") == "train") & (pc.field("status") == "converged")
    table = store.table(["film_id", "pixel_nm", *config.targets], wanted).sort_by("film_id")
    if table.num_rows < 2:
        raise UserError(
            f"store {store.uri} has {table.num_rows} training films, and a fit needs 2 or more; simulate more"
        )
    if len(table["pixel_nm"].unique()) > 1:
        raise UserError(f"store {store.uri} holds films of several cell sizes; fit those of one")
    kept = calibration_ids(table["film_id"].to_pylist(), config.calibration_fraction)
    calibrating = pc.field("film_id").isin(sorted(kept))
    pixel_nm = float(table["pixel_nm"][0].as_py())
    return table.filter(~calibrating).to_pydict(), table.filter(calibrating).to_pydict(), pixel_nm


def _sides(store: Store, scales: tuple[float, ...], pixel_nm: float) -> tuple[int, ...]:
    """The cells along a view at each scale. Raises UserError if one is larger than the films."""
    sides, sizes = [cells_of(scale, pixel_nm) for scale in scales], store.table(["width", "height"])
    smallest = min(pc.min(sizes[name]).as_py() for name in ("width", "height"))
    if max(sides) > smallest:
        raise UserError(f"scale {max(scales):g} µm is {max(sides)} cells, and the films have {smallest}")
    return tuple(sides)


def _target(store: Store, name: str, values: list[float]) -> Target:
    unit = store.schema.field(name).metadata[b"unit"].decode()
    spread = float(np.std(values))
    if spread <= 1e-9 * max(map(abs, values), default=0.0):
        raise UserError(f"all training films have the same {name}, so nothing can be learned of it; give it a range")
    return Target(name, unit, float(np.mean(values)), spread, min(values), max(values))


def _values(rows: Rows, config: FitConfig) -> NDArray[np.float64]:
    """(films, targets), SI."""
    return np.array([rows[name] for name in config.targets]).T


def _scaling(workers: int | None) -> tuple[int, ray.train.ScalingConfig]:
    """Threads of a worker, and the workers: those asked for, or one on each GPU, or one on all cores of a machine."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    gpus = sum(int(resources.get("GPU", 0)) for resources in nodes)
    cores = max(int(resources.get("CPU", 1)) for resources in nodes)
    count = workers or max(gpus, 1)
    threads = max(1, cores // count)
    return threads, ray.train.ScalingConfig(
        num_workers=count, use_gpu=gpus >= count, resources_per_worker={"CPU": threads, "GPU": int(gpus >= count)}
    )


def _train(
    lesson: Lesson, scaling: ray.train.ScalingConfig, work_folder: Path, progress: bool
) -> tuple[dict[str, Any], float]:
    """The state of the finished training, and its last loss."""
    run = ray.train.RunConfig(  # type: ignore[call-arg]  # declared as that of the older Train
        name=_run_name(lesson),
        storage_path=str(work_folder),
        checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
        failure_config=ray.train.FailureConfig(max_failures=WORKER_FAILURES),
        worker_runtime_env={"env_vars": KEEP_MEMORY},
    )
    with _shown(lesson.config.epochs, progress) as news:
        trainer = ray.train.torch.TorchTrainer(
            _work, train_loop_config={"lesson": lesson, "news": news}, scaling_config=scaling, run_config=run
        )
        with _ordinary_interrupt():
            result = trainer.fit()
    assert result.checkpoint is not None  # the last epoch made one
    return _read(result.checkpoint, torch.device("cpu"))


def _run_name(lesson: Lesson) -> str:
    """The same for the same lesson: that is how Ray Train finds the checkpoints to go on from."""
    facts = asdict(lesson) | {"config": lesson.config.model_dump(mode="json", exclude={"train_scales"})}
    return "fit-" + hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _work(settings: dict[str, Any]) -> None:
    """A worker's whole life. Ray Train runs it in a process with its own GPU or cores."""
    lesson, news = settings["lesson"], settings["news"]
    torch.set_num_threads(lesson.threads)
    context, device = ray.train.get_context(), ray.train.torch.get_device()
    training = Training(
        _films(lesson, device),
        lesson.config,
        prepare=ray.train.torch.prepare_model,
        rank=context.get_world_rank(),
        workers=context.get_world_size(),
    )
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        training.load(_read(checkpoint, device)[0])
    while training.epoch < lesson.config.epochs:
        start = time.monotonic()
        loss = training.run_epoch()
        if context.get_world_rank() == 0:
            news.put((training.epoch, loss, training.views, time.monotonic() - start))
        if training.epoch % lesson.config.checkpoint_epochs == 0 or training.epoch == lesson.config.epochs:
            _report(training, loss, context.get_world_rank())


def _films(lesson: Lesson, device: torch.device) -> TrainingFilms:
    images = open_store(lesson.store_uri).images(lesson.film_ids)
    return TrainingFilms(
        images=torch.from_numpy(images).to(device),
        targets=torch.tensor(lesson.standardised, dtype=torch.float32, device=device),
        sides=lesson.sides,
        orientations=ORIENTATIONS[lesson.config.symmetries],
    )


def _report(training: Training, loss: float, rank: int) -> None:
    """Commits a checkpoint, which the first worker writes."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if rank == 0:
            torch.save(training.state() | {"loss": loss, "views": training.views}, Path(folder) / STATE_FILE)
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report({"loss": loss}, checkpoint=checkpoint)


def _read(checkpoint: ray.train.Checkpoint, device: torch.device) -> tuple[dict[str, Any], float]:
    """A checkpoint's state, and the loss of its last epoch."""
    with checkpoint.as_directory() as folder:
        state: dict[str, Any] = torch.load(Path(folder) / STATE_FILE, map_location=device, weights_only=True)
    return state, state["loss"]


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
