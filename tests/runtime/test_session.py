"""A local Ray's folder is its user's alone, has a short path and goes with its driver; signals end both in one line."""

import fcntl
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import ray

from magray.cli import app as cli
from magray.errors import FilmsLost, UserError
from magray.runtime import connect as cluster
from magray.runtime import session
from magray.runtime.session import LOCK, new_session


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only temporary folder there is, with a short path."""
    with ExitStack() as stack:
        place = Path("/tmp") / f"t{os.getpid()}"
        place.mkdir()
        stack.callback(place.rmdir)
        for name in ("RAY_TMPDIR", "TMPDIR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(session, "PLACES", (str(place),))
        monkeypatch.setattr(session, "atexit", SimpleNamespace(register=stack.callback))
        monkeypatch.setattr(cluster, "forget_token", Mock())  # which a Ray of other tests may need
        monkeypatch.setattr(ray, "shutdown", lambda: None)
        yield place


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nobody_else_reads_a_session_or_its_token(place: Path) -> None:
    made = new_session(lambda: None)
    assert made.folder.parent == place
    assert (mode(made.folder), mode(made.token_file)) == (0o700, 0o600)
    assert len(made.token_file.read_text()) == 64


def test_a_session_lies_where_a_sockets_path_is_short_enough(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(place / ("long" * 20)))
    assert new_session(lambda: None).folder.parent == place
    monkeypatch.setattr(session, "PLACES", ("/proc/nowhere",))
    with pytest.raises(
        UserError, match=r"set RAY_TMPDIR to one that can be written to, with a path of at most 2. bytes"
    ):
        new_session(lambda: None)


def test_sessions_of_dead_drivers_go_and_no_others(place: Path, tmp_path: Path) -> None:
    living, dead = (new_session(lambda: None) for _ in range(2))
    fcntl.flock(dead.lock, fcntl.LOCK_UN)  # as the system does when a process dies
    stranger, link = place / "magray-stranger", place / "magray-linklink"
    stranger.mkdir()
    for name in (LOCK, "diary"):
        (stranger / name).touch()
    (tmp_path / LOCK).touch()
    link.symlink_to(tmp_path)
    new_session(lambda: None)
    assert living.folder.exists()
    assert not dead.folder.exists()
    assert (stranger / "diary").exists()
    assert (tmp_path / LOCK).exists()
    link.unlink()
    for name in (LOCK, "diary"):
        (stranger / name).unlink()
    stranger.rmdir()


def test_too_few_open_files_are_told_before_ray_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    with pytest.raises(UserError, match="and 64 are allowed: run `ulimit -n 1024` first"):
        cluster.connect()


def test_ray_gets_its_own_token_and_leaves_sigterm_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ray's messages at its start are hidden, and its changes to the environment are undone."""
    seen: dict[str, Any] = {}

    def init(**options: Any) -> None:
        seen.update(options, token=Path(os.environ["RAY_AUTH_TOKEN_PATH"]))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    monkeypatch.setattr(ray, "init", init)
    before = signal.getsignal(signal.SIGTERM)
    cluster._start(num_cpus=1)
    assert signal.getsignal(signal.SIGTERM) == before
    assert seen["token"].parent == Path(seen["_temp_dir"]).parent
    assert seen["token"].is_relative_to(place)
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ
    assert capfd.readouterr().err == ""


def test_a_ray_that_does_not_start_is_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: Any) -> None:
        raise Exception("The current node timed out\nand more")  # as Ray does

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(UserError, match=r"^Ray does not start on this machine: The current node timed out$"):
        cluster._start(num_cpus=1)
    assert place.exists()


def test_sigterm_while_ray_starts_is_an_interrupt(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own handler, which is there until then, would end the command with exit code 15."""

    def init(**_: Any) -> None:
        raise SystemExit(signal.SIGTERM)

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(KeyboardInterrupt):
        cluster._start(num_cpus=1)


@pytest.fixture
def signals() -> Iterator[None]:
    """Handlers as they were, after the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in the background
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_interrupts_and_the_second_ends_at_once(
    first: signal.Signals, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    cli._handle_signals(cli._interrupt)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(first)
    signal.raise_signal(signal.SIGINT)
    assert ended == [130]
    assert capfd.readouterr().err.startswith("magray: stopped at once; finished work is kept")


@pytest.mark.usefixtures("signals")
def test_a_signal_while_a_command_ends_lets_it_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt would leave a traceback of Ray's shutdown."""
    monkeypatch.setattr(cli, "app", lambda: None)
    cli.main()
    signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is cli._exit_now


IN_A_DESTRUCTOR = """
import os, signal, sys, time
from magray.cli import app as cli

class Slow:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)

def command():
    try:
        Slow()
        time.sleep(30)
    except KeyboardInterrupt:
        print("interrupted")

cli.app = command
cli.main()
"""


def test_a_signal_in_a_destructor_interrupts_the_command_all_the_same() -> None:
    """Python ignores exceptions there, and would print a traceback and go on."""
    done = subprocess.run([sys.executable, "-c", IN_A_DESTRUCTOR], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


@pytest.mark.usefixtures("signals")
def test_lost_films_are_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app() -> None:
        raise FilmsLost("2 of 3 films are not there")

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "magray: 2 of 3 films are not there\n"
