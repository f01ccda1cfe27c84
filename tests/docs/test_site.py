"""Build the site of the documentation, with warnings as errors, and read its pages."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import magray
from magray.cli.app import app
from magray.config import Config
from magray.store import STORE_SCHEMA

ROOT = Path(__file__).parents[2]
LOADED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\s(?:src|href)=\"?((?:https?:)?//[^\"\s>]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the site, as make docs builds it. With --quiet, --strict would see no warnings."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_loads_nothing_from_other_servers(site: Path) -> None:
    pages = {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    assert len(pages) > 25
    assert {page.name: found for page, text in pages.items() if (found := LOADED.findall(text))} == {}
    assert not any('class="mermaid"' in text for text in pages.values()), "the theme loads mermaid from another server"


def test_the_reference_has_every_command_name_key_and_column(site: Path) -> None:
    def lacking(page: str, names: list[str]) -> list[str]:
        text = re.sub(r"<[^>]+>", "", (site / "reference" / page).read_text(encoding="utf-8"))
        return [name for name in names if name not in text]

    command = typer.main.get_command(app)
    assert lacking("commands.html", [f"magray {name}" for name in command.commands]) == []  # type: ignore[attr-defined]
    assert lacking("python.html", [name for name in magray.__all__ if not name.startswith("_")]) == []
    sections = ("campaign", "simulate", "fit", "study")
    keys = [key for section in sections for key in Config.model_fields[section].annotation.model_fields]  # type: ignore[union-attr]
    assert lacking("configs.html", keys) == []
    assert lacking("store.html", STORE_SCHEMA.names) == []


def test_a_link_to_a_file_that_is_no_page_is_its_path(site: Path) -> None:
    text = (site / "any-film.html").read_text(encoding="utf-8")
    assert "<code>magray/films/reduced.py</code>" in text
    assert not re.search(r'href="[^"]*\.(?:py|yaml)"', text)
