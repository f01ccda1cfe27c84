"""The command that serves a page to drop pictures on."""

import signal
import webbrowser
from importlib.util import find_spec
from typing import Annotated

import typer

from magray.errors import UserError

NEEDED = ("fastapi", "uvicorn", "python_multipart")  # what magray[serve] brings


def serve(
    port: Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="Port of the page.")] = 8000,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on; others than loopback are for a group, and need MAGRAY_SERVE_TOKEN.",
        ),
    ] = "127.0.0.1",
    films: Annotated[
        str | None,
        typer.Option(
            metavar="STORE", help="Store whose simulated films are shown beside an answer, those nearest to it."
        ),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Serve a page to drop pictures on, and the same by HTTP (/openapi.json), until Ctrl-C."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UserError(f"{missing[0]} is not installed: pip install 'magray[serve]'")
    from magray.serve.guard import LOOPBACK

    def ready(url: str) -> None:
        typer.echo(f"{url}   Ctrl-C ends it")
        if browser:
            webbrowser.open(url)

    try:
        if host in LOOPBACK:
            from magray.serve.local import run

            run(host, port, films, ready)
        else:
            from magray.serve.service import start

            ready(start(host, port, films))
            signal.pause()
    except KeyboardInterrupt:
        typer.echo("ended", err=True)
