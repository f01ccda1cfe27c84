"""A driver shows what a training process writes of its epochs."""

import time
from pathlib import Path

import pytest

from magray.training import progress
from magray.training.progress import EpochLog


def test_a_driver_shows_the_epochs_of_this_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file also holds those of the run before, which was interrupted; a line may come in two parts."""
    seen: list[tuple[float, ...]] = []
    monkeypatch.setattr(progress.FitProgress, "add", lambda _, *epoch: seen.append(epoch))
    log = EpochLog(tmp_path / "epochs.jsonl")
    log.add(1, 0.9, 100, 2.0)
    with log.shown(epochs=3):
        log.add(2, 0.5, 100, 2.0)
        with log.path.open("a") as file:
            file.write("[3, 0.25")
            file.flush()
            time.sleep(2 * progress.POLL_SECONDS)
            file.write(", 100, 2.0]\n")
    assert seen == [(2, 0.5, 100, 2.0), (3, 0.25, 100, 2.0)]
    assert capsys.readouterr().out == ""


def test_the_last_epoch_is_shown_with_its_loss_and_speed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = EpochLog(tmp_path / "epochs.jsonl")
    with log.shown(epochs=1):
        log.add(1, 0.25, 100, 2.0)
    assert "50 views/s" in (said := capsys.readouterr().err)
    assert "loss 0.250" in said
