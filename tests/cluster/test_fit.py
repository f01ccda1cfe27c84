"""A fit on a real Ray cluster learns, and ends with the same network after any interruption."""

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

from magray.config import FitConfig, MicroscopeConfig, ScaleSet
from magray.errors import UserError
from magray.estimator.estimator import Estimator
from magray.evaluation.metrics import r2
from magray.evaluation.study import Trial, run_study
from magray.imaging import views
from magray.imaging.microscope import Microscope, apply_microscope
from magray.store import STORE_SCHEMA, Store, create_store
from magray.training.config import TrainConfig
from magray.training.fit import calibration_ids, fit
from magray.training.loader import epoch_films
from magray.training.ray import films_at_once
from magray.training.spec import TrainingSpec
from tests.support.stores import plan_of, scattered_store
from tests.support.stripes import SIDE, striped_store

SCALES = ScaleSet.parse("0.125+0.25")
SHORT = FitConfig(
    train_scales=[SCALES],
    epochs=6,
    views_per_epoch=192,  # long enough to be interrupted on the way
    batch=16,
    learning_rate=3e-3,
    seed=3,
    checkpoint_epochs=1,
)
# about 40 training films, in fewer and longer epochs, since each epoch starts a new reader
STREAMED = SHORT.model_copy(update={"films_at_once": 20, "epochs": 2, "views_per_epoch": 576})
WEAK_EYES = {"blur": ["4 nm", "8 nm"], "noise": [0.3, 0.6]}
TALL = 8  # factor of the pictures' height and width, so that their memory can be measured

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return striped_store(tmp_path_factory.mktemp("stripes") / "store", films=60)


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


def test_two_parameters_are_learned_together(store: Store, tmp_path: Path) -> None:
    """The width of stripes depends on D, the share of bright ones on Ms; films and views of the test are unseen."""
    config = SHORT.model_copy(update={"targets": ["D", "Ms"], "epochs": 12, "views_per_epoch": 96})
    summary = fit(store.uri, config, SCALES, tmp_path / "estimator", tmp_path / "work", progress=False)
    assert summary.views == 12 * 192
    _, study = run_study(store.uri, {Trial("all", 0): tmp_path / "estimator"}, (0.25,))
    learned = {row["parameter"]: row["r2"] > 0.7 for row in study.to_pylist() if row["train_set"] == "all"}
    assert learned == {"D": True, "Ms": True}
    assert [target.name for target in Estimator.load(tmp_path / "estimator").targets] == ["D", "Ms"]


def test_a_fit_through_a_microscope_is_better_on_its_pictures(store: Store, undisturbed: Path, tmp_path: Path) -> None:
    config = SHORT.model_copy(update={"microscope": MicroscopeConfig.model_validate(WEAK_EYES)})
    fit(store.uri, config, SCALES, tmp_path / "estimator", tmp_path / "work", progress=False)
    films = store.films("test")
    shown = views(torch.from_numpy(store.images(films["film_id"].to_pylist())), 0.25, 4.0)[:, 0]
    seen = apply_microscope(shown, 0.25, Microscope((4.0, 8.0), (0.3, 0.6))).numpy()
    r2s = []
    for folder in (tmp_path / "estimator", undisturbed):
        estimator = Estimator.load(folder)
        r2s.append(r2(films["D"].to_numpy(), np.array([estimator.predict(one, scale_um=0.25).value for one in seen])))
    assert r2s[0] > 0.6
    assert r2s[1] < r2s[0] - 0.2


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


def test_a_fit_of_streamed_films_is_as_good_and_resumes_exactly(
    scattered: Store, undisturbed: Path, tmp_path: Path
) -> None:
    def again() -> None:
        fit(scattered.uri, STREAMED, SCALES, tmp_path / "estimator", tmp_path / "work", progress=False)

    when_checkpointed(tmp_path / "work", lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        again()
    again()
    fit(scattered.uri, STREAMED, SCALES, tmp_path / "at_once", tmp_path / "other_work", progress=False)
    assert same_weights(tmp_path / "estimator", tmp_path / "at_once")
    assert Estimator.load(tmp_path / "estimator").metadata.provenance["films_at_once"] == 20
    fits = {Trial("streamed", 0): tmp_path / "estimator", Trial("resident", 0): undisturbed}
    _, study = run_study(scattered.uri, fits, (0.25,))
    r2 = {row["train_set"]: row["r2"] for row in study.to_pylist()}
    assert r2["streamed"] > 0.8
    assert r2["streamed"] > r2["resident"] - 0.15


def test_several_workers_stream_films_together_and_share_each_batch(scattered: Store, tmp_path: Path) -> None:
    config = STREAMED.model_copy(update={"epochs": 1, "views_per_epoch": 192, "workers": 2})
    summary = fit(scattered.uri, config, SCALES, tmp_path / "estimator", tmp_path / "work", progress=False)
    assert summary.views == 384


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


def test_unsuitable_films_are_refused(store: Store, tmp_path: Path) -> None:
    for config, scales, reason in (
        (SHORT.model_copy(update={"targets": ["Ku1"]}), SCALES, "the same Ku1"),
        (SHORT, ScaleSet.parse("0.125..0.5"), "scale 0.5 µm is 128 cells, and the films have 64"),
    ):
        with pytest.raises(UserError, match=reason):
            fit(store.uri, config, scales, tmp_path / "estimator", tmp_path / "work", progress=False)
    assert not list(tmp_path.iterdir())


def test_a_fit_that_diverges_is_one_line_and_leaves_no_estimator(store: Store, tmp_path: Path) -> None:
    config = SHORT.model_copy(update={"learning_rate": 1e30, "epochs": 1})
    with pytest.raises(UserError, match=r"^the fit diverged: its loss is not .* from step \d of epoch 1 on"):
        fit(store.uri, config, SCALES, tmp_path / "estimator", tmp_path / "work", progress=False)
    assert not (tmp_path / "estimator").exists()


def test_the_choice_of_calibration_films_depends_on_their_ids_only() -> None:
    ids = [f"{i:024x}" for i in range(40)]
    chosen = calibration_ids(ids, 0.15)
    assert len(chosen) == 6
    assert chosen == calibration_ids(ids[::-1], 0.15)


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
