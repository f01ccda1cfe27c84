"""Commands that compare many estimators: searches, other protocols, the paper."""

import os
from pathlib import Path
from typing import Annotated

import typer

from magray.cli.console import resumable
from magray.cli.options import Overrides
from magray.files.paths import at_home


def search(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file of a search, as in configs/searches.")],
    exhaustive: Annotated[bool, typer.Option("--exhaustive", help="Also evaluate every set, as a baseline.")] = False,
    overrides: Overrides = None,
    address: Annotated[
        str | None,
        typer.Option("--address", envvar="RAY_ADDRESS", metavar="ADDRESS", help="Ray cluster to join, such as auto."),
    ] = None,
) -> None:
    """Find the training scales that are good enough at all test scales."""
    from rich.console import Console

    from magray.config import load_config, load_search
    from magray.report.search import write_search
    from magray.search.run import search
    from magray.search.summary import front_table, summary_lines

    if address:
        os.environ["RAY_ADDRESS"] = address
    settings = load_search(config, overrides or ())
    project = load_config(config.parent / settings.project)
    with resumable():
        found = search(project, settings, exhaustive, typer.echo)
        page = write_search(settings.folder(project), settings, project.name)
    Console().print(front_table(found.options))
    for line in summary_lines(found, settings):
        typer.echo(line)
    typer.echo(f"all options: {page}")


def protocols(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file that names projects to compare.")],
    overrides: Overrides = None,
) -> None:
    """Test estimators on films simulated by other protocols."""
    from rich.console import Console

    from magray.config import load_protocols
    from magray.report.protocols import error_tables, write_protocols
    from magray.workflows.protocol_transfer import compare_protocols

    settings = load_protocols(config, overrides or ())
    with resumable():
        table = compare_protocols(settings, config.parent)
        page = write_protocols(settings.output, table)
    Console().print(*error_tables(table))
    typer.echo(f"all scores: {page}")


def paper(
    configs: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with studies/fig*.yaml.")] = Path("configs"),
    results: Annotated[
        Path, typer.Option(metavar="FOLDER", parser=at_home, help="Where figures and tables go.")
    ] = Path("results/paper"),
    small: Annotated[bool, typer.Option("--small", help="Use a few coarse films, as a check.")] = False,
    overrides: Overrides = None,
) -> None:
    """Reproduce every figure of the paper, with numbers."""
    from rich.console import Console

    from magray.workflows.paper import run

    with resumable():
        run(configs, results, Console(), small, overrides or ())
