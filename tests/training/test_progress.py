"""A driver shows what a training process writes of its epochs."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from magray.training import progress
from magray.training.progress import EpochLog, sparkline


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


def test_a_terminal_shows_the_curve_of_the_loss_also_of_the_epochs_before_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Console(file=io.TextIOWrapper(io.BytesIO(), "utf-8"), force_terminal=True, width=160)
    monkeypatch.setattr(progress, "Console", lambda **_: terminal)
    log = EpochLog(tmp_path / "epochs.jsonl")
    for epoch, loss in ((1, 0.9), (2, 0.5), (3, 0.4)):  # the last checkpoint is of the second epoch
        log.add(epoch, loss, 100, 2.0)
    log.path.write_text(log.path.read_text() + "[4, 0.\n")  # of a run that was killed
    with log.shown(epochs=4):
        log.add(3, 0.3, 100, 2.0)
        log.add(4, 0.1, 100, 2.0)
    terminal.file.seek(0)
    assert "loss 0.100 █▅▃▁" in terminal.file.read()


def test_a_log_has_no_curve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = EpochLog(tmp_path / "epochs.jsonl")
    with log.shown(epochs=1):
        log.add(1, 0.25, 100, 2.0)
    assert not set(capsys.readouterr().err) & set(progress.BLOCKS)


def test_a_long_curve_keeps_its_width_and_a_level_one_is_low() -> None:
    assert sparkline([3.0, 1.0, 2.0]) == "█▁▅"
    assert sparkline([0.5, 0.5]) == "▁▁"
    falling = sparkline(np.linspace(1, 0, 1000).tolist())
    assert len(falling) == progress.CURVE_WIDTH
    assert list(falling) == sorted(falling, reverse=True)
