"""Paths and links in the documentation exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OURS = re.compile(r"`((?:magray|tests|benchmarks|configs|cluster|jobs)/[\w./]*)`")
LINKS = re.compile(r"\]\((?!https?://|#)([^)#]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_and_link_of_a_page_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = [ROOT / path for path in OURS.findall(text)] + [page.parent / path for path in LINKS.findall(text)]
    assert [str(path) for path in named if not path.exists()] == []
