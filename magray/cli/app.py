"""The command line. Whatever takes long to import is imported inside a command, so that `magray --help` is instant."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import typer

from magray.cli import project, research, store
from magray.cli.console import INTERRUPTED
from magray.cli.plain import write_plainly
from magray.errors import UserError, in_words, one_line
from magray.masking import mask

app = typer.Typer(
    help="Estimate a magnetic film's parameters from one picture of its domains.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the `magray` command. What a user can mend is one line on stderr and exit code 2; a bug is a traceback."""
    write_plainly(sys.stdout, sys.stderr)
    _on_signals()
    try:
        app()
    except UserError as error:
        _stop(str(error), error.exit_code)
    except OSError as error:
        _stop(in_words(error))
    except MemoryError as error:
        _stop(f"not enough memory: {one_line(error)}; close other programs, or take a larger machine")


def _stop(reason: str, exit_code: int = 2) -> NoReturn:
    try:
        sys.stdout.flush()
    except OSError:  # its disk is full, and Python would flush once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with suppress(OSError):  # stderr is closed
        typer.echo(f"magray: {mask(' '.join(reason.split()))}", err=True)
    raise SystemExit(exit_code) from None


def _on_signals() -> None:
    """Interrupt the command at the first SIGINT or SIGTERM, and end it at the second: Ray would crash."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, _interrupt)


def _interrupt(*_: object) -> NoReturn:
    for either in (signal.SIGINT, signal.SIGTERM):
        signal.signal(either, _leave)
    raise KeyboardInterrupt


def _leave(*_: object) -> NoReturn:
    os.write(2, b"magray: stopped at once; what is finished is kept, run the same command again to go on\n")
    os._exit(INTERRUPTED)


def doctor() -> None:
    """Check this machine's setup."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from magray.cli.doctor import examine

    table = Table(show_header=False, box=None, pad_edge=False)
    for finding in examine(Path.cwd()):
        mark = "[green]✓[/green]" if finding.state == "found" else "[yellow]–[/yellow]"
        table.add_row(mark, f"[bold]{finding.topic}[/bold]", escape(finding.detail))
    Console().print(table)


COMMANDS = (
    project.quickstart,
    project.plan,
    project.simulate,
    project.fit,
    project.study,
    project.report,
    project.estimate,
    research.search,
    research.protocols,
    research.paper,
    doctor,
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(store.app, name="store")
