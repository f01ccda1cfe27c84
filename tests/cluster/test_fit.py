"""A fit on a real Ray cluster ends with the same network after any interruption. Fits learn in tests/training."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray
import torch
from safetensors.numpy import load_file

from magray.config import FitConfig, ScaleSet
from magray.errors import UserError
from magray.estimator.estimator import Estimator
from magray.store import STORE_SCHEMA, Store, create_store
from magray.training.config import TrainConfig
from magray.training.fit import fit
from magray.training.loader import epoch_films
from magray.training.ray import films_at_once
from magray.training.spec import TrainingSpec
from tests.support.stores import plan_of, scattered_store
from tests.support.stripes import SIDE, striped_store

SCALES = ScaleSet.parse("0.125+0.25")
SHORT = FitConfig(
    train_scales=[SCALES],
    epochs=6,
    views_per_epoch=32,  # long enough to be interrupted on the way
    batch=16,
    learning_rate=3e-3,
    width=0.5,
    seed=3,
    checkpoint_epochs=1,
)
# at least two batches of each chunk, in fewer epochs, since each starts a new reader
STREAMED = SHORT.model_copy(update={"films_at_once": 20, "epochs": 2, "views_per_epoch": 96})
TALL = 8  # factor of the pictures' height and width, so that their memory can be measured

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return striped_store(tmp_path_factory.mktemp("stripes") / "store", films=30)


@pytest.fixture(scope="module")
def scattered(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store of the same films in files of four."""
    return scattered_store(tmp_path_factory.mktemp("scattered") / "store", films=60, films_per_file=4)


@pytest.fixture(scope="module")
def undisturbed(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of SHORT's estimator."""
    folder = tmp_path_factory.mktemp("undisturbed")
    fit(store.uri, SHORT, SCALES, folder / "estimator", folder / "work", progress=False)
    return folder / "estimator"


def test_an_interrupted_fit_continues_and_ends_the_same(store: Store, undisturbed: Path, tmp_path: Path) -> None:
    def again() -> None:
        fit(store.uri, SHORT, SCALES, tmp_path / "estimator", tmp_path / "work", progress=False)

    when_checkpointed(tmp_path / "work", lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        again()
    assert not (tmp_path / "estimator").exists()
    again()
    assert same_weights(tmp_path / "estimator", undisturbed)


def test_a_fit_survives_the_death_of_its_worker(store: Store, undisturbed: Path, tmp_path: Path) -> None:
    def kill() -> None:
        for pid in training_workers():
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    killed: list[int] = []
    when_checkpointed(tmp_path / "work", kill)
    fit(store.uri, SHORT, SCALES, tmp_path / "estimator", tmp_path / "work", progress=False)
    assert len(killed) == 1
    assert same_weights(tmp_path / "estimator", undisturbed)


def test_an_interrupted_fit_of_streamed_films_continues_and_ends_the_same(scattered: Store, tmp_path: Path) -> None:
    def again(folder: Path) -> None:
        fit(scattered.uri, STREAMED, SCALES, folder / "estimator", folder / "work", progress=False)

    when_checkpointed(tmp_path / "work", lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        again(tmp_path)
    again(tmp_path)
    again(tmp_path / "at_once")
    assert same_weights(tmp_path / "estimator", tmp_path / "at_once" / "estimator")
    assert Estimator.load(tmp_path / "estimator").metadata.provenance["films_at_once"] == 20


def test_several_workers_stream_films_together_and_share_each_batch(scattered: Store, tmp_path: Path) -> None:
    config = STREAMED.model_copy(update={"epochs": 1, "workers": 2})
    summary = fit(scattered.uri, config, SCALES, tmp_path / "estimator", tmp_path / "work", progress=False)
    assert summary.views == 192


def test_an_epochs_order_depends_on_its_number_and_has_each_film_once(scattered: Store) -> None:
    ids = scattered.ids().to_pylist()
    row_index, images = scattered.row_index(ids), scattered.images(ids)

    def order(seed: int, epoch: int) -> list[int]:
        parts = list(epoch_films(scattered.uri, row_index, (SIDE, SIDE), (seed, epoch), capacity=20))
        assert len(parts) > 4
        for films, pictures in parts:
            np.testing.assert_array_equal(pictures, images[films])
        return [int(film) for films, _ in parts for film in films]

    first = order(3, 0)
    assert sorted(first) == list(range(60))
    assert order(3, 0) == first
    assert order(3, 1) != first
    assert order(4, 0) != first


def test_films_in_flight_take_no_more_memory_than_a_chunk(scattered: Store, tmp_path: Path) -> None:
    """The trainer may be slow, and films read ahead must not fill Ray's object store."""
    store = tall_store(scattered, tmp_path / "store")
    row_index, side = store.row_index(store.ids().to_pylist()), TALL * SIDE
    used = []
    for capacity in (8, 60):
        before = objects_bytes()
        parts = epoch_films(store.uri, row_index, (side, side), (0, 0), capacity)
        next(parts)
        time.sleep(6)
        used.append((objects_bytes() - before) / side**2)
        parts.close()
    assert used[0] < 20 < 30 < used[1]


def test_an_error_of_the_store_or_the_config_is_one_line(scattered: Store, tmp_path: Path) -> None:
    row_index = scattered.row_index(scattered.ids().to_pylist())
    elsewhere = tmp_path / "gone"
    with pytest.raises(
        UserError, match=rf"^store {elsewhere} changed while it was read: a file is gone; run it again$"
    ):
        list(epoch_films(str(elsewhere), row_index, (SIDE, SIDE), (0, 0), capacity=20))
    config = STREAMED.model_copy(update={"films_at_once": 4, "views_per_epoch": 16})
    with pytest.raises(UserError, match=r"^a chunk of \d films has \d+ views in an epoch.*lower$"):
        fit(scattered.uri, config, SCALES, tmp_path / "estimator", tmp_path / "work", progress=False)


def test_a_device_holds_all_films_or_as_many_as_fit_in_half_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def held(memory: float, wanted: int | None = None) -> int:
        node = {"NodeID": ray.get_runtime_context().get_node_id(), "Resources": {"memory": memory}}
        monkeypatch.setattr(ray, "nodes", lambda: [node])
        spec = TrainingSpec("", ("",) * 100, (), (), (), 4.0, (512, 512), TrainConfig(1, 1.0), wanted)
        return films_at_once(spec, torch.device("cpu"))

    assert held(2 * 100 * 512**2) == 100
    assert held(2 * 30.5 * 512**2) == 30
    assert held(0) == 4
    assert held(0, wanted=50) == 50


def test_a_fit_that_diverges_is_one_line_and_leaves_no_estimator(store: Store, tmp_path: Path) -> None:
    config = SHORT.model_copy(update={"learning_rate": 1e30, "epochs": 1})
    with pytest.raises(UserError, match=r"^the fit diverged: its loss is not .* from step \d of epoch 1 on"):
        fit(store.uri, config, SCALES, tmp_path / "estimator", tmp_path / "work", progress=False)
    assert not (tmp_path / "estimator").exists()


def tall_store(store: Store, folder: Path) -> Store:
    """Return a store of the same films, whose pictures are repeated TALL times each way."""

    def repeated(picture: bytes) -> bytes:
        return np.tile(np.frombuffer(picture, np.uint8).reshape(SIDE, SIDE), (TALL, TALL)).tobytes()

    rows = pa.concat_tables(store.batches(STORE_SCHEMA.names))
    pictures = pa.array([repeated(picture) for picture in rows["image"].to_pylist()], pa.binary())
    rows = rows.set_column(rows.schema.get_field_index("image"), STORE_SCHEMA.field("image"), pictures)
    for name in ("height", "width"):
        sides = pa.array([TALL * SIDE] * rows.num_rows, STORE_SCHEMA.field(name).type)
        rows = rows.set_column(rows.schema.get_field_index(name), STORE_SCHEMA.field(name), sides)
    tall = create_store(str(folder), "stripes", plan_of(store))
    for first in range(0, rows.num_rows, 4):
        tall.commit(rows.slice(first, 4))
    return tall


def objects_bytes() -> float:
    """Return the number of bytes in Ray's object store."""
    every: Any = ray.cluster_resources()  # type: ignore[no-untyped-call]
    free: Any = ray.available_resources()  # type: ignore[no-untyped-call]
    return float(every["object_store_memory"] - free["object_store_memory"])


def when_checkpointed(work_folder: Path, act: Callable[[], object]) -> None:
    """Call `act` once, soon after the first checkpoint appears."""

    def watch() -> None:
        while not list(work_folder.rglob("training.pt")):
            time.sleep(0.02)
        act()

    threading.Thread(target=watch, daemon=True).start()


def training_workers() -> list[int]:
    """Return the training processes of this test's own cluster, whose raylet is a child of this process."""

    def parent(pid: int) -> int:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

    def is_ours(folder: Path) -> bool:
        try:
            title = (folder / "cmdline").read_text()
            return "training_process" in title and parent(parent(int(folder.name))) == os.getpid()
        except (FileNotFoundError, ProcessLookupError):
            return False

    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit() and is_ours(folder)]


def same_weights(one: Path, other: Path) -> bool:
    """Return whether two estimators have the same weights, bit for bit."""
    weights = [load_file(folder / "network.safetensors") for folder in (one, other)]
    return all((weights[0][name] == weights[1][name]).all() for name in weights[0])
