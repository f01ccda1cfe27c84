"""Run the commands and Python blocks of the documentation, in a folder as it is after the quickstart.

What cannot run here has a comment above it that says why: <!-- not run: needs a GPU -->. Its commands must exist all
the same, with their options and arguments, and its Python must compile.
"""

import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import typer
from typer.testing import CliRunner

import magray
from magray.cli.app import app
from magray.config.strict_yaml import parse
from magray.errors import Refused
from magray.films import plan_table
from magray.imaging import write_picture
from tests.support import microscope_files
from tests.support.foreign_films import mumax3_output, ubermag_drive
from tests.support.stripes import labyrinth, striped_film, striped_store

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "cluster" / "README.md", *sorted(ROOT.glob("docs/*.md"))]
COOKBOOK = ROOT / "docs" / "analysis.md"  # tests/cli/test_analysis_cookbook.py runs its Python and SQL
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n+)?"
    r"(?:^```(?P<language>\w*)\n(?P<fenced>.*?)^```$|(?P<indented>(?:^    \S[^\n]*\n)+))",
    re.MULTILINE | re.DOTALL,
)
INLINE = re.compile(r"(?<!`)`(magray(?: [^`]+)?)`(?!`)")
PROGRAMS = r"magray|make|pip|python|curl|export|docker|helm|kubectl|sed|ray"
COMMAND = re.compile(rf"^(?:\$ )?((?:{PROGRAMS}) .*)", re.MULTILINE)
DATA = ("python", "sql", "yaml", "json", "text")


@dataclass(frozen=True)
class Example:
    """A block of a page: its language, its text, and why it is not run, if it is not."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command, without what is redirected."""
        if self.language in DATA:
            return []
        return [_words(line) for line in COMMAND.findall(self.text.replace("\\\n", " "))]


def _words(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    return words[: words.index(">")] if ">" in words else words


def examples(page: Path) -> list[Example]:
    text = page.read_text(encoding="utf-8")
    return [
        Example(
            page,
            text.count("\n", 0, found.start()) + 1,
            found["language"] or "",
            found["fenced"] or "\n".join(line[4:] for line in (found["indented"] or "").splitlines()),
            found["reason"],
        )
        for found in BLOCK.finditer(text)
    ]


EXAMPLES = [example for page in PAGES for example in examples(page)]
WITH_COMMANDS = [example for example in EXAMPLES if example.commands]
PYTHON = [example for example in EXAMPLES if example.language == "python"]


def options_of(command: Any) -> set[str]:
    return {"--help", *(name for parameter in command.params for name in parameter.opts)}


@cache
def magray_command() -> Any:
    return typer.main.get_command(app)


def found_command(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that words after "magray" name, and what follows. Raises KeyError if there is none."""
    command: Any = magray_command()
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with configs, pictures, and what a quickstart leaves in runs/quickstart."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "configs").symlink_to(ROOT / "configs")
    runs = folder / "runs"
    striped_store(runs / "quickstart" / "store", 8)
    plan = plan_table([striped_film(seed)[0] for seed in range(8)], "stripes")
    pq.write_table(plan, runs / "quickstart" / "plan.parquet")
    (runs / "quickstart" / "estimator").symlink_to(ROOT / "magray" / "estimator" / "pretrained" / "co-like")
    (runs / "quickstart" / "report").mkdir()
    pictures = ["runs/quickstart/report/held_out_film.png", "picture.png", "a.png", "b.png", "c.png", "d.png"]
    for seed, name in enumerate(pictures):
        write_picture(folder / name, (127.5 * (1 + labyrinth(seed=seed))).astype("uint8"))
    (folder / "picture.tif").write_bytes((folder / "picture.png").read_bytes())  # the content counts
    (folder / "scan.sxm").write_bytes(microscope_files.sxm())
    mumax3_output(runs / "mumax3" / "film.out")
    ubermag_drive(runs / "ubermag" / "drive-0")
    return folder


@pytest.mark.parametrize("example", WITH_COMMANDS, ids=str)
def test_a_command_that_is_shown_exists_with_its_options(example: Example) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for program, *words in example.commands:
        if program == "magray":
            command, rest = found_command(words)
            command.make_context("magray", list(rest))  # raises what --help would complain of
        elif program == "make":
            assert set(words) <= set(targets)
        elif words[:1] == ["-m"]:
            assert (ROOT / f"{words[1].replace('.', '/')}.py").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_command_that_a_sentence_names_exists_with_its_options(page: Path) -> None:
    for text in INLINE.findall(page.read_text(encoding="utf-8")):
        command, rest = found_command(shlex.split(text)[1:])
        assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= options_of(command), text


@pytest.mark.parametrize("example", [one for one in WITH_COMMANDS if one.reason is None], ids=str)
def test_a_command_of_a_page_runs(example: Example, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    for program, *words in example.commands:
        assert program == "magray", "say above the block why it is not run: <!-- not run: needs a cluster -->"
        done = CliRunner().invoke(app, words)
        refused = isinstance(done.exception, Refused)  # by any-film, which knows that the pictures are drawn
        assert done.exit_code == 0 or refused, (words, done.output, done.exception)


@pytest.mark.parametrize("example", PYTHON, ids=str)
def test_a_python_block_of_a_page_runs(example: Example, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = compile(example.text, str(example), "exec")
    if example.reason is None and example.page != COOKBOOK:
        monkeypatch.chdir(project)
        mz = torch.from_numpy(labyrinth(side=128))
        exec(code, {"magray": magray, "mz": mz, "picture": mz, "pictures": [mz]})


@pytest.mark.parametrize("example", [one for one in EXAMPLES if one.language == "yaml"], ids=str)
def test_a_config_of_a_page_is_read(example: Example) -> None:
    assert parse(example.text) or example.text.startswith("# yaml-language-server:")
