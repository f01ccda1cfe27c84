"""Write self-contained HTML pages: one file with its figures, style and script inside."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from magray.errors import UserError
from magray.files.atomic import atomic_write


def write_page(template: str, path: Path, **content: Any) -> None:
    """Fill a template of this package and write the page. Figures are read from the page's folder."""
    loader = PackageLoader("magray.report", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["picture"] = lambda name: _inline(path.parent / name)
    environment.filters["duration"] = duration
    text = environment.get_template(template).render(content)
    with atomic_write(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def duration(seconds: float) -> str:
    """Return a time in seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def data_uri(png: bytes) -> str:
    """Return a PNG as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _inline(picture: Path) -> str:
    """Return a figure as a data URI. Raises UserError for a link to a file in another folder."""
    if picture.resolve().parent != picture.parent.resolve():
        raise UserError(f"{picture} is a link to another folder; remove it and run again")
    return data_uri(picture.read_bytes())
