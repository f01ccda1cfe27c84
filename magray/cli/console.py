"""Print results and interruptions, on any terminal.

Streams whose encoding lacks a character get plain letters instead: ± becomes +-, µm becomes um.
"""

import codecs
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from magray.project.stages import StageResult

INTERRUPTED = 130  # the exit code after SIGINT, as shells define it: 128 + 2

_PLAIN = str.maketrans(
    {"±": "+-", "²": "2", "³": "3", "−": "-", "–": "-", "—": "-", "×": "x", "·": "*", "≥": ">=", "≤": "<=", "≈": "~"}
    | {"…": "...", "→": "->", "µ": "u", "μ": "u", "σ": "sigma", "α": "alpha", "π": "pi", "√": "sqrt", "✓": "+"}
)


def write_plainly(*streams: TextIO) -> None:
    """Make streams accept every text, whatever their encoding."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plainly")


def print_results(results: "Iterable[StageResult]") -> None:
    """Print what stages did, in which time, and their warnings."""
    from rich.console import Console

    for result in results:
        result.print_to(Console())


def print_tables(tables: "Iterable[RenderableType]") -> None:
    """Print tables, one below the other."""
    from rich.console import Console

    Console().print(*tables)


@contextmanager
def resumable() -> Iterator[None]:
    """Exit with code 130 at Ctrl-C, and say that the same command goes on."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("magray: interrupted; finished work is kept, run the same command again to go on", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _replace_plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace what an encoding lacks by ASCII letters, or else by an escape such as \\u4e00."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error("plainly", _replace_plainly)
