"""Printing of commands: the results of stages, and what an interruption means."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from magray.project.stages import StageResult

INTERRUPTED = 130  # exit code of shells: 128 + SIGINT


def show(*results: "StageResult") -> None:
    """Print the line of each stage that has ended."""
    from rich.console import Console

    from magray.workflows.quickstart import show_result

    for result in results:
        show_result(result, Console())


@contextmanager
def resumable() -> Iterator[None]:
    """Tell whoever interrupts resumable work that nothing is lost, and exit as shells expect it."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("magray: interrupted; what is finished is kept, run the same command again to go on", err=True)
        raise typer.Exit(INTERRUPTED) from None
