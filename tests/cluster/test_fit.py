"""A fit learns, goes on where it was cut short, and ends the same whatever happened on the way."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from magray.config import FitConfig
from magray.errors import UserError
from magray.learning.estimator import Estimator
from magray.learning.fit import calibration_ids, fit
from magray.store import Store
from magray.tolerance.study import Trial, run_study
from tests.stripes import striped_store

SCALES = "0.125+0.25"
SHORT = FitConfig(
    train_scales=[SCALES],
    epochs=6,
    views_per_epoch=192,  # long enough to be interrupted on the way
    batch=16,
    learning_rate=3e-3,
    seed=3,
    checkpoint_epochs=1,
)

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return striped_store(tmp_path_factory.mktemp("stripes") / "store", films=60)


@pytest.fixture(scope="module")
def undisturbed(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of SHORT's estimator."""
    folder = tmp_path_factory.mktemp("undisturbed")
    fit(store.uri, SHORT, SCALES, folder / "estimator", folder / "work", progress=False)
    return folder / "estimator"


def test_two_parameters_are_learned_together(store: Store, tmp_path: Path) -> None:
    """Width of the stripes tells D, the share of the bright ones Ms: on films and views that the fit never saw."""
    config = SHORT.model_copy(update={"targets": ["D", "Ms"], "epochs": 12, "views_per_epoch": 96})
    summary = fit(store.uri, config, SCALES, tmp_path / "estimator", tmp_path / "work", progress=False)
    assert summary.views == 12 * 192
    _, study = run_study(store.uri, {Trial("all", 0): tmp_path / "estimator"}, (0.25,))
    learned = {row["parameter"]: row["r2"] > 0.7 for row in study.to_pylist() if row["train_set"] == "all"}
    assert learned == {"D": True, "Ms": True}
    assert [target.name for target in Estimator.load(tmp_path / "estimator").targets] == ["D", "Ms"]


def test_a_fit_that_was_interrupted_goes_on_and_ends_the_same(store: Store, undisturbed: Path, tmp_path: Path) -> None:
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


def test_several_workers_share_each_batch(store: Store, tmp_path: Path) -> None:
    config = SHORT.model_copy(update={"epochs": 1, "workers": 2})
    summary = fit(store.uri, config, SCALES, tmp_path / "estimator", tmp_path / "work", progress=False)
    assert summary.views == 384


def test_films_that_cannot_be_learned_from_are_refused(store: Store, tmp_path: Path) -> None:
    for config, scales, reason in (
        (SHORT.model_copy(update={"targets": ["Ku1"]}), SCALES, "the same Ku1"),
        (SHORT, "0.125..0.5", "scale 0.5 µm is 128 cells, and the films have 64"),
    ):
        with pytest.raises(UserError, match=reason):
            fit(store.uri, config, scales, tmp_path / "estimator", tmp_path / "work", progress=False)
    assert not list(tmp_path.iterdir())


def test_calibration_films_are_a_matter_of_their_ids() -> None:
    ids = [f"{i:024x}" for i in range(40)]
    chosen = calibration_ids(ids, 0.15)
    assert len(chosen) == 6
    assert chosen == calibration_ids(ids[::-1], 0.15)


def when_checkpointed(work_folder: Path, act: Callable[[], object]) -> None:
    """Calls `act` once, soon after the first checkpoint appears."""

    def watch() -> None:
        while not list(work_folder.rglob("training.pt")):
            time.sleep(0.02)
        act()

    threading.Thread(target=watch, daemon=True).start()


def training_workers() -> list[int]:
    """Processes that train for this test's own cluster: its raylet is a child of this process."""

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
    """Bit for bit."""
    weights = [load_file(folder / "network.safetensors") for folder in (one, other)]
    return all((weights[0][name] == weights[1][name]).all() for name in weights[0])
