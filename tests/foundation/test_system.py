"""Errors of the system are reported in one line, and terminals without a character show a plainer one."""

import errno
import os
import pickle
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import torch

import magray
from magray.cli import app as cli
from magray.cli.console import print_results
from magray.config import load_config
from magray.errors import UserError, in_words
from magray.files.atomic import atomic_write, write_table
from magray.project.stages import StageResult
from magray.store import open_store
from magray.training.checkpoint import save_state

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "configs" / "quickstart.yaml"
LIGHT = "from magray.cli import app; app.main()"
SAYS = "import sys; from magray.cli import app as cli; cli.app = lambda: cli.typer.echo({text!r}); cli.main()"
OBEDIENT = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []  # root is not


def python(program: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[bytes]:
    """Run a Python process."""
    return subprocess.run(
        [*OBEDIENT, sys.executable, "-P", "-c", program, *arguments],
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | settings,
    )


def refused(action: Callable[[], object], *, limit: int | None = None) -> str:
    """Return the message about the OSError that an action raises, with files of up to `limit` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patch:
        if limit is not None:
            patch.setattr(sys, "dont_write_bytecode", True)  # or a module that is imported now is cut off as well
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(OSError) as raised:  # noqa: PT011
                action()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    return in_words(raised.value)


def test_a_table_that_may_not_be_read_is_not_to_be_moved_away(tmp_path: Path) -> None:
    """The file is as good as ever; only the access is missing."""
    write_table(pa.table({"trial": ["a"]}), tmp_path / "study.parquet")
    (tmp_path / "study.parquet").chmod(0)
    program = "import pathlib, sys; from magray.files.atomic import read_notes; read_notes(pathlib.Path(sys.argv[1]))"
    last = python(program, str(tmp_path / "study.parquet")).stderr.decode().splitlines()[-1]
    assert last.endswith(f"{tmp_path}/study.parquet: permission denied; ask for access, or choose another place")


def write(path: Path, size: int = 10_000) -> None:
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(bytes(size))


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[BaseException], str]:
    """Return the one line that the command line prints, with exit code 2, for the error that a command raises."""

    def run(error: BaseException) -> str:
        def app() -> None:
            raise error

        monkeypatch.setattr(cli, "app", app)
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        assert (stopped.value.code, said.out, said.err.count("\n")) == (2, "", 1)
        return said.err

    return run


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EIO", "EROFS", "EFBIG", "EACCES", "EMFILE", "ESTALE", "EXDEV"])
def test_whatever_the_system_refuses_is_one_line_that_names_the_file(
    name: str, stops: Callable[[BaseException], str]
) -> None:
    number = getattr(errno, name)
    line = stops(OSError(number, os.strerror(number), "/data/run"))
    assert line.startswith("magray: /data/run: ")
    assert "Errno" not in line


def test_errors_without_a_number_are_one_line_as_well(stops: Callable[[BaseException], str]) -> None:
    assert stops(OSError("first\nsecond")) == "magray: first\n"
    assert stops(OSError()) == "magray: OSError\n"
    assert "http://***@h" in stops(OSError("no answer from http://u:hush@h"))
    assert stops(MemoryError("Unable to allocate 3 GiB")).startswith("magray: not enough memory: Unable to allocate 3")


def test_a_bug_keeps_its_traceback() -> None:
    """One line would hide where it is."""
    said = python("from magray.cli import app as cli; cli.app = lambda: {}['bug']; cli.main()")
    assert said.returncode == 1
    assert b"Traceback" in said.stderr


def test_an_interrupted_command_ends_as_shells_expect_it() -> None:
    """130, without a traceback, whatever the command is doing."""
    interrupt = "import signal; from magray.cli import app, doctor; doctor.examine = lambda _: signal.raise_signal(2)"
    said = python(f"{interrupt}; app.main()", "doctor")
    assert (said.returncode, said.stdout, said.stderr) == (130, b"", b"")


def test_a_command_interrupted_while_it_is_imported_ends_so_too() -> None:
    """Before the handlers of signals are there."""
    interrupt = "signal.raise_signal(2) if name == 'magray.cli.app' else None"
    finder = f"import signal, sys; sys.meta_path.insert(0, type('F', (), dict(find_spec=lambda name, *_: {interrupt})))"
    said = python(f"{finder}; from magray.__main__ import main; main()", "--help")
    assert (said.returncode, said.stdout, said.stderr) == (130, b"", b"")


def test_the_doctor_needs_no_home(tmp_path: Path) -> None:
    said = python(LIGHT, "doctor", HOME=str(tmp_path / "file" / "home"))
    assert said.returncode == 0, said.stderr.decode()
    tmp_path.chmod(0)
    said = python(LIGHT, "doctor", HOME=str(tmp_path))
    tmp_path.chmod(0o700)
    assert said.returncode == 0, said.stderr.decode()


def test_files_that_cannot_be_written_are_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    assert "file: a file is where a folder should be; move it" in refused(lambda: write(tmp_path / "file" / "x"))
    assert "folder: a folder is where a file should be" in refused(lambda: write(tmp_path / "folder"))
    assert "the name is too long" in refused(lambda: write(tmp_path / ("n" * 256)))
    assert f"{tmp_path}/x: the file is larger than" in refused(lambda: write(tmp_path / "x"), limit=1000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_that_may_not_be_written_to_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    program = "import os, sys; from magray.cli import app as cli; cli.app = lambda: os.mkdir(sys.argv[1]); cli.main()"
    said = python(program, f"{tmp_path}/run")
    tmp_path.chmod(0o700)
    assert said.returncode == 2
    assert said.stderr.decode() == (
        f"magray: {tmp_path}/run: permission denied; ask for access, or choose another place\n"
    )


def test_a_checkpoint_on_a_full_disk_is_an_error_of_the_disk(tmp_path: Path) -> None:
    """torch.save by itself raises a RuntimeError about positions."""
    state = {"weights": torch.zeros(10_000)}
    assert "larger than" in refused(lambda: save_state(state, tmp_path / "x.pt"), limit=1000)
    assert not list(tmp_path.iterdir())
    save_state(state, tmp_path / "x.pt")
    assert torch.load(tmp_path / "x.pt", weights_only=True)["weights"].shape == (10_000,)


def test_a_store_that_may_not_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    """A user who deletes a file because it is called damaged would lose films."""
    (tmp_path / "_campaign.json").mkdir()
    with pytest.raises(UserError, match="cannot be read") as raised:
        open_store(str(tmp_path))
    assert "delete" not in str(raised.value)
    with pytest.raises(UserError, match="a file is where a folder should be"):
        open_store(str(Path(__file__)))


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "latin-1", "utf-8"])
def test_every_terminal_shows_every_answer(encoding: str) -> None:
    said = python(SAYS.format(text="σ ± 0.1 mJ/m², µm → 漢 \udcff"), PYTHONIOENCODING=encoding)
    assert (said.returncode, said.stderr) == (0, b"")
    if encoding == "cp1252":
        assert said.stdout.decode(encoding).startswith("sigma ± 0.1 mJ/m², µm -> \\u6f22 \\udcff")


def test_a_pipe_that_is_closed_ends_a_command_quietly() -> None:
    command = [sys.executable, "-c", LIGHT, "estimate", "--help"]
    reading, writing = os.pipe()
    os.close(reading)
    said = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)})
    os.close(writing)
    assert said.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
def test_output_that_a_full_disk_does_not_take_is_an_error() -> None:
    command = [sys.executable, "-c", LIGHT, "--help"]
    with Path("/dev/full").open("wb") as full:
        said = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert said.returncode == 2
    assert said.stderr == b"magray: no room left on the disk; free some space and run again\n"


def test_names_are_shown_as_they_are_and_not_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_results([StageResult("plan of o[/x] [red]", False, 1.0, ("beware of [/y]",))])
    assert capsys.readouterr().out == "plan of o[/x] [red] (in 1.0 s)\nwarning: beware of [/y]\n"


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_config(QUICKSTART, ["output=~/run"]).output == tmp_path / "run"
    with pytest.raises(UserError, match="there is no such home"):
        load_config(QUICKSTART, ["output=~nobody-of-this-name/run"])
    with pytest.raises(UserError, match="there is no such home"):
        open_store("~nobody-of-this-name/films")


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Path]:
    """Files of magray in a folder that nobody may change."""
    package = tmp_path / "magray"
    shutil.copytree(Path(magray.__file__).parent / "micromagnetics", package / "micromagnetics")
    for folder in (package, package / "micromagnetics"):
        (folder / "__init__.py").write_text("")
    shutil.rmtree(package / "micromagnetics" / "__pycache__", ignore_errors=True)
    (package / "micromagnetics").chmod(0o500)
    yield tmp_path
    (package / "micromagnetics").chmod(0o700)


def test_a_user_without_a_home_or_a_cache_compiles_all_the_same(installation: Path) -> None:
    """Numba would refuse: "cannot cache function"."""
    program = "import magray.micromagnetics.cpu_kernels"
    settings = {
        "PYTHONPATH": str(installation),
        "HOME": "/proc/none",
        "NUMBA_CACHE_DIR": "",
        "XDG_CACHE_HOME": "/proc/none",
    }
    said = python(program, **settings)
    assert said.returncode == 0, said.stderr.decode()
    assert said.stderr.decode().count("\n") == 1
    assert b"set NUMBA_CACHE_DIR" in said.stderr


def test_what_is_masked_once_stays_so_between_processes() -> None:
    error = pickle.loads(pickle.dumps(UserError("no answer from http://u:hush@h")))
    assert str(error) == "no answer from http://***@h"
