"""The `magray` command: its subcommands, exit codes and signals.

Whatever takes long to import is imported inside a subcommand, so that `magray --help` is instant.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from magray._version import __version__
from magray.cli import doctor, estimate, gallery, project, research, serve, store
from magray.cli.console import INTERRUPTED, write_plainly
from magray.errors import UserError, in_words, one_line
from magray.masking import mask

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

app = typer.Typer(
    help="Estimate a magnetic film's parameters from a picture of its domains: simulate, train, estimate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_COMMANDS: tuple[Callable[..., None], ...] = (
    *(project.init, project.schema, project.plan, project.simulate, project.fit, project.study, project.report),
    *(estimate.estimate, estimate.picture, serve.serve, gallery.gallery),
    *(project.quickstart, research.search, research.protocols, research.paper),
    *(research.scale_cues, research.any_film, doctor.doctor),
)
for command in _COMMANDS:
    app.command()(command)
app.add_typer(store.app, name="store")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"magray {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Read the options that stand before a command."""


def main() -> None:
    """Run the `magray` command. An error that the user can fix is one line on stderr and exit code 2."""
    write_plainly(sys.stdout, sys.stderr)
    _handle_signals(_interrupt)
    sys.unraisablehook = _interrupt_once_more
    try:
        app()
    except UserError as error:
        _stop(str(error), error.exit_code)
    except OSError as error:
        _stop(in_words(error))
    except MemoryError as error:
        _stop(f"not enough memory: {one_line(error)}; close other programs, or use a larger machine")
    finally:
        _handle_signals(_let_end)


def _stop(reason: str, exit_code: int = 2) -> NoReturn:
    try:
        sys.stdout.flush()
    except OSError:  # the disk is full; without this, Python would try to flush again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with suppress(OSError):  # stderr is closed
        typer.echo(f"magray: {mask(' '.join(reason.split()))}", err=True)
    raise SystemExit(exit_code) from None


def _handle_signals(handler: Callable[..., None]) -> None:
    """Call `handler` at SIGINT and at SIGTERM. A signal that is ignored, as under nohup, stays ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _interrupt(*_: object) -> NoReturn:
    """End the command, and at the second signal end at once, before Ray has shut down."""
    _handle_signals(_exit_now)
    raise KeyboardInterrupt


def _let_end(*_: object) -> None:
    """Go on ending: the command is done and Ray shuts down. A second signal ends at once."""
    _handle_signals(_exit_now)


def _interrupt_once_more(what: "UnraisableHookArgs") -> None:
    """Interrupt again if an interrupt came in a destructor, which no exception leaves; report all other errors."""
    if what.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(what)
        return
    _handle_signals(_interrupt)
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()


def _exit_now(*_: object) -> NoReturn:
    os.write(2, b"magray: stopped at once; finished work is kept, run the same command again to go on\n")
    os._exit(INTERRUPTED)
