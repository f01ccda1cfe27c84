"""Check that every file that the documentation names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMED = re.compile(r"(?<![\w./])(?:magray|tests|benchmarks|jobs|cluster|configs)/[\w./*-]*")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_named_in_the_documentation_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = {path.rstrip(".") for path in NAMED.findall(text)}
    assert {path for path in named if not list(ROOT.glob(path.rstrip("/")))} == set()
    assert {link for link in LINK.findall(text) if not (page.parent / link).exists()} == set()
