"""The `magray` command: its subcommands, exit codes and signals.

Whatever takes long to import is imported inside a subcommand, so that `magray --help` is instant.
"""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import typer

from magray.cli import doctor, estimate, project, research, store
from magray.cli.console import INTERRUPTED, write_plainly
from magray.errors import UserError, in_words, one_line
from magray.masking import mask

app = typer.Typer(
    help="Estimate a magnetic film's parameters from a picture of its domains: simulate, train, estimate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_COMMANDS: tuple[Callable[..., None], ...] = (
    *(project.plan, project.simulate, project.fit, project.study, project.report, estimate.estimate),
    *(project.quickstart, research.search, research.protocols, research.paper),
    *(research.scale_cues, research.any_film, doctor.doctor),
)
for command in _COMMANDS:
    app.command()(command)
app.add_typer(store.app, name="store")


def main() -> None:
    """Run the `magray` command. An error that the user can fix is one line on stderr and exit code 2."""
    write_plainly(sys.stdout, sys.stderr)
    _handle_signals()
    try:
        app()
    except UserError as error:
        _stop(str(error), error.exit_code)
    except OSError as error:
        _stop(in_words(error))
    except MemoryError as error:
        _stop(f"not enough memory: {one_line(error)}; close other programs, or use a larger machine")


def _stop(reason: str, exit_code: int = 2) -> NoReturn:
    try:
        sys.stdout.flush()
    except OSError:  # the disk is full; without this, Python would try to flush again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with suppress(OSError):  # stderr is closed
        typer.echo(f"magray: {mask(' '.join(reason.split()))}", err=True)
    raise SystemExit(exit_code) from None


def _handle_signals() -> None:
    """End the command at SIGINT and at SIGTERM, and at once at the second one, before Ray has shut down.

    A signal that is ignored, as under nohup, stays ignored.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(*_: object) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit_now)
    raise KeyboardInterrupt


def _exit_now(*_: object) -> NoReturn:
    os.write(2, b"magray: stopped at once; finished work is kept, run the same command again to go on\n")
    os._exit(INTERRUPTED)
