"""Hook of mkdocs: pages that lie elsewhere in the repository, and links to files that are no page.

Pages link to each other as files of the repository do, so that they read well in both places. On the site, a link to a
file that the site does not hold is the file's path, as code.
"""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = {  # file of the repository: page of the site
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "cluster/README.md": "cluster.md",
    "results/paper/README.md": "results/paper.md",
    "results/scale-cues/README.md": "results/scale-cues.md",
}
SOURCES = {page: source for source, page in PAGES.items()}
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[(?P<text>[^]]*)\]\((?P<target>(?!https?:)[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
IMAGE = re.compile(r'(?P<before>!\[[^]]*\]\(|<img src=")(?P<target>(?!https?:)[^)"\s]+)')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and figures that lie outside of docs/, and a page for each notebook."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for figure in ROOT.glob("results/*/*.png"):
        files.append(File.generated(config, _in_repository(figure), abs_src_path=str(figure)))
    for notebook in ROOT.glob("docs/notebooks/*.ipynb"):
        files.append(File.generated(config, f"notebooks/{notebook.stem}.md", content=page_of(notebook)))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Make the links of a page links of the site."""
    pages = {file.src_uri for file in files}
    parts = FENCED.split(markdown)
    parts[::2] = [_links_of_the_site(part, page.file.src_uri, pages) for part in parts[::2]]
    return "".join(parts)


def page_of(notebook: Path) -> str:
    """Return a notebook as Markdown."""
    cells: list[dict[str, Any]] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    parts = [_cell(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    return "\n\n".join([*parts, f'Download <a href="{notebook.name}" download>the notebook</a>.\n'])


def _cell(kind: str, text: str) -> str:
    return f"```python\n{text}\n```" if kind == "code" else text


def _links_of_the_site(text: str, page: str, pages: set[str]) -> str:
    def link(found: re.Match[str]) -> str:
        target, shown = _target(page, found["target"]), found["text"]
        place = _place(target)
        if place in pages:
            return f"[{shown}]({_relative(place, page)}{found['anchor'] or ''})"
        named = target.endswith(shown.strip("`"))
        return f"`{target}`" if named else f"{shown} (`{target}`)"

    def image(found: re.Match[str]) -> str:
        return found["before"] + _relative(_place(_target(page, found["target"])), page)

    return IMAGE.sub(image, LINK.sub(link, text))


def _target(page: str, link: str) -> str:
    """Return the path in the repository that a page's link leads to."""
    source = SOURCES.get(page, f"docs/{page}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))


def _place(target: str) -> str:
    """Return where a file of the repository is on the site, if it is. A notebook has a page."""
    return PAGES.get(target, re.sub(r"\.ipynb$", ".md", target.removeprefix("docs/")))


def _relative(place: str, page: str) -> str:
    return posixpath.relpath(place, posixpath.dirname(page) or ".")


def _in_repository(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
