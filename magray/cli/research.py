"""Commands that compare many estimators: the search for training scales, other protocols, and the paper."""

import os
from pathlib import Path
from typing import Annotated

import typer

from magray.cli.console import print_tables, resumable
from magray.cli.options import Overrides, Track
from magray.files.paths import at_home


def search(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file of a search, as in configs/searches.")],
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Also evaluate every set of scales, as a baseline.")
    ] = False,
    overrides: Overrides = None,
    address: Annotated[
        str | None,
        typer.Option("--address", envvar="RAY_ADDRESS", metavar="ADDRESS", help="Ray cluster to join, such as auto."),
    ] = None,
    track: Track = None,
) -> None:
    """Search for the cheapest training scales that are enough."""
    from magray.config import load_config, load_search
    from magray.report.search import write_search
    from magray.search.run import search
    from magray.search.summary import front_table, summary_lines

    if address:
        os.environ["RAY_ADDRESS"] = address
    settings = load_search(config, overrides or ())
    project = load_config(config.parent / settings.project)
    with resumable():
        found = search(project, settings, exhaustive, typer.echo, [tracker.value for tracker in track or ()])
        page = write_search(settings.folder(project), settings, project.name)
    print_tables([front_table(found.options)])
    for line in summary_lines(found, settings):
        typer.echo(line)
    typer.echo(f"all options: {page}")


def protocols(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file that names the projects to compare.")],
    overrides: Overrides = None,
) -> None:
    """Test estimators on films of other protocols."""
    from magray.config import load_protocols
    from magray.report.protocols import write_protocols
    from magray.report.terminal import protocol_tables
    from magray.workflows.protocol_transfer import compare_protocols

    settings = load_protocols(config, overrides or ())
    with resumable():
        table = compare_protocols(settings, config.parent)
        page = write_protocols(settings.output, table)
    print_tables(protocol_tables(table))
    typer.echo(f"all scores: {page}")


def paper(
    configs: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with studies/fig*.yaml.")] = Path("configs"),
    results: Annotated[
        Path, typer.Option(metavar="FOLDER", parser=at_home, help="Folder for figures and tables.")
    ] = Path("results/paper"),
    small: Annotated[
        bool, typer.Option("--small", help="Use a few coarse films, to see in minutes that everything works.")
    ] = False,
    overrides: Overrides = None,
) -> None:
    """Reproduce the figures of the paper, with their numbers."""
    from rich.console import Console

    from magray.workflows.paper import run

    with resumable():
        run(configs, results, Console(), small, overrides or ())


def scale_cues(
    configs: Annotated[
        list[Path], typer.Argument(metavar="CONFIG...", help="YAML files of studies, as in configs/scale-cues.")
    ],
    results: Annotated[
        Path, typer.Option(metavar="FOLDER", parser=at_home, help="Folder for the table and its figure.")
    ] = Path("results/scale-cues"),
    overrides: Overrides = None,
) -> None:
    """Find out what tells networks the scale of a picture."""
    from rich.console import Console

    from magray.workflows.scale_cues import run

    with resumable():
        page = run(configs, results, Console(), overrides or ())
    typer.echo(f"all scores: {page}")


def any_film(
    stores: Annotated[list[str], typer.Argument(metavar="STORE...", help="Stores of designed films, by size.")],
    output: Annotated[
        Path,
        typer.Option("--output", metavar="FOLDER", parser=at_home, help="Folder for the estimator and its scores."),
    ] = Path("runs/any-film/estimator"),
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Time for training, at most.")] = 360.0,
    pictures: Annotated[int, typer.Option("--pictures", min=1, help="Pictures for training, at most.")] = 60_000_000,
    batch: Annotated[int, typer.Option("--batch", min=2, help="Pictures of a training step.")] = 1024,
    width: Annotated[
        float, typer.Option("--width", min=0.1, help="Width of the network, relative to the paper's.")
    ] = 2.0,
    baseline_seconds: Annotated[
        float, typer.Option("--baseline-seconds", min=0.0, help="Time for the two-numbers baseline; 0: none.")
    ] = 60.0,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", min=0.0, help="The largest of the training.")
    ] = 3e-3,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--start-from",
            metavar="ESTIMATOR",
            help="Any-film estimator, by name or folder, whose weights the training begins with.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the network and its pictures.")] = 0,
    instruments: Annotated[
        Path | None,
        typer.Option(
            "--instruments",
            metavar="CONFIG",
            help="YAML file of instruments and their shares, as configs/instruments/any-film.yaml; without it, "
            "half of the pictures are as they are and half blurred and noisy.",
        ),
    ] = None,
) -> None:
    """Fit the any-film estimator to films of every material, and measure it."""
    from magray.network.any_film import AnyFilmSettings
    from magray.training.any_film.instruments import HALVES, read_instruments
    from magray.training.any_film.trainer import AnyFilmTraining
    from magray.workflows.any_film import run

    shares = HALVES if instruments is None else read_instruments(instruments)
    training = AnyFilmTraining(pictures, seconds, batch, learning_rate, seed=seed, instruments=shares)
    with resumable():
        run(stores, output, AnyFilmSettings(width=width), training, baseline_seconds, typer.echo, start_from)
