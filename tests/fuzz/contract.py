"""Check that a command keeps the promises that magray makes for any input.

A command ends with 0, 1, 2, 3 or 130, within 30 s and 2 GB. If it fails, it says why in one line. There is no
traceback, no NaN in an answer, no file half-written, left over or lost, and nothing of an input is run as code.
"""

import contextlib
import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from magray.cli import app as cli
from tests.fuzz.cases import Case
from tests.fuzz.damage import CANARY
from tests.fuzz.specimen import CONFIGS

SECONDS, BYTES = 30.0, 2e9
CODES = (0, 1, 2, 3, 130)
READERS = ({"estimate"}, {"store", "ls"}, {"store", "show"}, {"store", "verify"}, {"store", "export"})
UNFINISHED = re.compile(r"\.(tmp|unfinished)(/|$)")
NOT_A_NUMBER = re.compile(r"(?<![a-z])(nan|inf)(?![a-z])")
NEW_PROCESS = "import sys; from magray.cli import app; sys.exit(app.main())"


@dataclass(frozen=True)
class Run:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


def broken(case: Case, box: Path, new_process: bool = False, reference: float | None = None) -> list[str]:
    """Run a case in an empty folder below `box`; return a sentence for each broken promise.

    new_process: as a shell would, which also shows how the interpreter ends; otherwise within this process.
    reference: what an estimate with `same_answer` must be.
    """
    shutil.rmtree(box, ignore_errors=True)
    folder = box / "a" / "b" / "case"
    folder.mkdir(parents=True)
    for name, content in case.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    before = _files(box)
    _forget_memory_peak()
    with contextlib.chdir(folder):
        run = (
            _in_new_process(case.arguments)
            if new_process
            else _in_this_process(case.arguments, box.with_suffix(".log"))
        )
    peak = _memory_peak()
    said = [*_words_broken(case, run), *_files_broken(case, run, before, _files(box))]
    if peak > BYTES and not new_process:
        said.append(f"it took {peak / 1e9:.1f} GB")
    if case.same_answer and run.code == 0 and reference is not None and abs(answer_of(run) / reference - 1) > 0.02:
        said.append(f"{case.arguments[1]} is read as {answer_of(run)}, the same picture as PNG as {reference}")
    return said


def answer_of(run: Run) -> float:
    """Return the first number of an estimate."""
    return float(run.out.partition("=")[2].split()[0])


def estimate(folder: Path, picture: bytes) -> float:
    """Return the estimate of a shipped estimator for an undamaged picture."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        Path("picture.png").write_bytes(picture)
        arguments = ("estimate", "picture.png", "--estimator", "co-like", "--scale-um", "0.512", "--force")
        return answer_of(_in_this_process(arguments, Path("log")))


def _in_this_process(arguments: tuple[str, ...], log: Path) -> Run:
    """Run `magray arguments` in this process, and capture both streams, also what C++ writes."""
    saved, sys.argv = sys.argv, ["magray", *arguments]
    with _streams(log) as said:
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
            code = 1
        finally:
            sys.argv = saved
    return Run(code, *(path.read_text(encoding="utf-8", errors="replace") for path in said))


def _in_new_process(arguments: tuple[str, ...]) -> Run:
    no_cluster = {"RAY_ADDRESS": "127.0.0.1:1"}  # what is in order goes as far as that, and simulates nothing
    environment = os.environ | {"PYTHONPATH": str(CONFIGS.parent), "COLUMNS": "80"} | no_cluster
    command = [sys.executable, "-c", NEW_PROCESS, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return Run(-1, "", f"it takes more than {SECONDS:g} s")
    except (UnicodeError, OSError):  # no shell can give a command such arguments
        return Run(0, "", "")
    return Run(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


@contextlib.contextmanager
def _streams(log: Path) -> Iterator[tuple[Path, Path]]:
    """Redirect both streams of this process to files."""
    said, saved, streams = (
        (log.with_suffix(".out"), log.with_suffix(".err")),
        (os.dup(1), os.dup(2)),
        (sys.stdout, sys.stderr),
    )
    with (
        said[0].open("w", encoding="utf-8") as sys.stdout,
        said[1].open("w", encoding="utf-8", errors="backslashreplace") as sys.stderr,
    ):
        os.dup2(sys.stdout.fileno(), 1)
        os.dup2(sys.stderr.fileno(), 2)
        try:
            yield said
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = streams
            for number, descriptor in enumerate(saved, 1):
                os.dup2(descriptor, number)
                os.close(descriptor)


def _words_broken(case: Case, run: Run) -> list[str]:
    lines = [line for line in run.err.splitlines() if line.strip()]
    if "Traceback" in run.err:
        return [f"traceback: {_error(run.err)}"]
    said = []
    if run.code not in CODES:
        said.append(f"exit code {run.code}: {lines[-1] if lines else ''}")
    if run.code == 1 and case.arguments[:2] == ("store", "verify"):
        lines = ["magray:", *lines] if run.out.strip() else lines
    if run.code and len(lines) != 1:
        said.append(f"{len(lines)} lines on stderr: {lines[0] if lines else 'nothing'}")
    if not run.code and case.arguments[0] == "estimate" and NOT_A_NUMBER.search(run.out):
        said.append("an answer that is no number")
    return said


def _error(text: str) -> str:
    """Return a traceback in one line: the error, and the last function of magray in it."""
    places = re.findall(r'/magray/([\w/]+\.py)", line \d+, in (\w+)', text)
    said = text.rpartition("\n  File ")[2].splitlines()[1:]
    error = next((line for line in said if line and not line.startswith(" ")), "?").partition(":")[0]
    return f"{error} in {' '.join(places[-1]) if places else '?'}"


def _files_broken(case: Case, run: Run, before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    ours, arguments = f"{Path('a/b/case')}/", case.arguments
    new = sorted(name for name in after if after[name] != before.get(name))
    gone = sorted(name for name in before if after.get(name) != before[name])
    said = []
    if any(name.endswith(f"/{CANARY}") for name in new):
        said.append("code of the input was run")
    if case.kind not in ("config", "override"):  # what a config names is trusted
        said += [f"written outside of its folder: {name}" for name in new if not name.startswith(ours)][:1]
    said += [f"left over: {_plain(name)}" for name in new if UNFINISHED.search(name)][:1]
    if any(kind <= set(arguments[:2]) for kind in READERS):
        said += [f"a command that reads has changed {_plain(name)}" for name in gone][:1]
    said += [f"a file of somebody else is gone: {name}" for name in gone if "precious" in name][:1]
    said += [f"half-written: {_plain(name)}" for name in new if not _is_whole(name, after[name])][:1]
    if run.code and arguments[0] == "plan" and any(name.endswith("plan.parquet") for name in new):
        said.append("a plan is left behind by a config that was refused")
    if run.code and arguments[:2] == ("store", "export") and any(name.startswith(f"{ours}pictures") for name in new):
        said.append("half an export is left behind")
    return said


def _plain(name: str) -> str:
    """Return a name without the digits that differ between runs."""
    return re.sub(r"[0-9a-f]{8,}|\d{3,}", "…", name)


def _is_whole(name: str, content: bytes) -> bool:
    """Return whether a written file can be read."""
    try:
        if name.endswith(".parquet"):
            pq.read_metadata(pa.BufferReader(content))
        elif name.endswith(".json"):
            json.loads(content)
        elif name.endswith(".png"):
            Image.open(io.BytesIO(content)).verify()
    except (OSError, ValueError, SyntaxError, pa.ArrowException):
        return False
    return True


def _files(box: Path) -> dict[str, bytes]:
    """Return the content of all files in the box by path, and empty folders."""
    found = {}
    for folder, folders, files in os.walk(box):
        for name in files:
            path = Path(folder, name)
            found[str(path.relative_to(box))] = path.read_bytes() if path.is_file() else b"no file"
        if not folders and not files:
            found[str(Path(folder).relative_to(box))] = b"an empty folder"
    return found


def _forget_memory_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _memory_peak() -> float:
    """Return the peak memory of this process, bytes, since `_forget_memory_peak`."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return float(found[1]) * 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
