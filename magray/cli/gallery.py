"""The command that draws the films of a store."""

from pathlib import Path
from typing import Annotated

import typer

from magray.cli.store import StoreUri
from magray.errors import UserError
from magray.files.paths import at_home


def gallery(
    store: StoreUri,
    x: Annotated[
        str, typer.Option("--x", metavar="NUMBER", help="A column of the store, or Q1, t_over_wall_width or d.")
    ] = "D",
    y: Annotated[str, typer.Option("--y", metavar="NUMBER", help="Likewise.")] = "Ms",
    output: Annotated[
        Path | None,
        typer.Option(metavar="HTML", parser=at_home, help="Where to write the page; default: beside the store."),
    ] = None,
) -> None:
    """Draw films of a store over two of their numbers, as a page to find by eye what a picture resembles."""
    from magray.report.gallery import write_gallery
    from magray.store import open_store

    opened = open_store(store)
    if output is None and not opened.location.local:
        raise UserError(f"{opened.uri} is no folder of this machine; say where the page goes: --output gallery.html")
    page = Path(opened.location.path).parent / "gallery.html" if output is None else output
    shown, films = write_gallery(opened, x, y, page)
    typer.echo(f"{page}: {shown} of {films} films over {x} and {y}")
