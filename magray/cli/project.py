"""Commands that run the stages of one project, and use its estimators."""

import json
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magray.cli.console import INTERRUPTED, print_results, print_tables, resumable
from magray.cli.options import ConfigPath, Overrides, Track
from magray.errors import UserError
from magray.files.paths import at_home
from magray.files.remote import is_url
from magray.masking import mask

if TYPE_CHECKING:
    from magray.project.stages import FilmsProject, Project

Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar="RAY_ADDRESS",
        metavar="ADDRESS",
        help="Ray cluster to use: http://host:8265 submits a job and follows it; auto joins this machine's cluster.",
    ),
]
ByPip = Annotated[
    bool, typer.Option("--pip", help="With http://: install magray for the job, on nodes without its image.")
]


class Wanted(StrEnum):
    """The projects that `magray init` knows."""

    dmi = "dmi"
    ms = "ms"
    any_film = "any-film"


class Size(StrEnum):
    """The machines that `magray init` knows."""

    laptop = "laptop"
    cluster = "cluster"


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", parser=at_home, help="Folder of the project.")],
    wanted: Annotated[
        Wanted,
        typer.Option("--for", help="An estimator of D or of Ms for one material, or films for one of any material."),
    ] = Wanted.dmi,
    size: Annotated[
        Size, typer.Option(help="Minutes on a laptop's cores, or the size of the paper's studies, for GPUs.")
    ] = Size.laptop,
    store: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Folder or URI of the films, as s3://bucket/films; default: in FOLDER."),
    ] = None,
) -> None:
    """Write a commented config to start a project from."""
    from magray.config.starting import write_starting_config

    path = write_starting_config(folder, wanted.value, size.value, store)
    typer.echo(f"{path}: put in your film, then run magray plan {path}")


class Kind(StrEnum):
    """The kinds of configs."""

    project = "project"
    design = "design"
    search = "search"
    protocols = "protocols"
    scale_cues = "scale-cues"
    figure = "figure"


def schema(
    kind: Annotated[
        Kind, typer.Argument(metavar="KIND", help="project, design, search, protocols, scale-cues or figure.")
    ] = Kind.project,
) -> None:
    """Print the JSON Schema of configs of a kind, by which editors complete and check them."""
    from magray.config.json_schema import json_schema

    typer.echo(json.dumps(json_schema(kind.value), indent=2, ensure_ascii=False))


def plan(config: ConfigPath, overrides: Overrides = None) -> None:
    """Write plan.parquet, with one row for each film."""
    print_results([_films_project(config, overrides).plan()])


def simulate(
    config: ConfigPath,
    overrides: Overrides = None,
    address: Address = None,
    pip: ByPip = False,
    thumbnails: Annotated[
        bool, typer.Option("--thumbnails", help="Write simulate.html, with progress and the last films, on the way.")
    ] = False,
) -> None:
    """Simulate the films that the store lacks."""
    _submit("simulate", config, overrides, address, pip, ["--thumbnails"] if thumbnails else [])
    with resumable():
        print_results([_films_project(config, overrides).simulate(thumbnails)])


def fit(
    config: ConfigPath,
    overrides: Overrides = None,
    address: Address = None,
    pip: ByPip = False,
    track: Track = None,
) -> None:
    """Fit an estimator for each set of training scales."""
    _submit("fit", config, overrides, address, pip, [f"--track={tracker.value}" for tracker in track or ()])
    with resumable():
        print_results(_project(config, overrides).fit([tracker.value for tracker in track or ()]))


def study(config: ConfigPath, overrides: Overrides = None, address: Address = None, pip: ByPip = False) -> None:
    """Test the estimators at every test scale."""
    from magray.report.terminal import tolerance_tables

    _submit("study", config, overrides, address, pip)
    project = _project(config, overrides)
    print_results([project.study()])
    print_tables(tolerance_tables(project.folder / "study.parquet"))


def report(config: ConfigPath, overrides: Overrides = None) -> None:
    """Write the report page and its figures."""
    print_results([_project(config, overrides).report()])


def quickstart(
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="CONFIG",
            parser=at_home,
            help="YAML file of the project. [default: configs/quickstart.yaml, or its copy that comes with magray]",
        ),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Run all stages of a project, and estimate a held-out film."""
    from rich.console import Console

    from magray.config import load_config
    from magray.workflows.quickstart import default_config, run

    with resumable():
        run(load_config(config or default_config(), overrides or ()), Console())


def _project(config: str, overrides: list[str] | None) -> "Project":
    from magray.config import load_config
    from magray.project.stages import Project

    return Project(load_config(config, overrides or ()))


def _films_project(config: str, overrides: list[str] | None) -> "FilmsProject":
    from magray.config import DesignedConfig, load_films
    from magray.project.stages import FilmsProject, Project

    settings = load_films(config, overrides or ())
    return FilmsProject(settings) if isinstance(settings, DesignedConfig) else Project(settings)


def _submit(
    stage: str,
    config: str,
    overrides: list[str] | None,
    address: str | None,
    by_pip: bool,
    options: Sequence[str] = (),
) -> None:
    """Run the stage as a job and exit with its code, if `address` is a job server; otherwise make Ray join it.

    options: further ones of the stage's command.
    """
    if by_pip and not (address or "").startswith("http"):
        raise UserError("--pip is for jobs: give the job server too, as in --address http://127.0.0.1:8265")
    if not address:
        return
    from magray.runtime.connect import is_job_server
    from magray.runtime.jobs import follow, submit_stage

    if not is_job_server(address):
        os.environ["RAY_ADDRESS"] = address
        return
    if is_url(config):
        raise UserError(f"{config} does not travel with the job: copy it below this folder, which does")
    job = submit_stage(address, stage, Path(config), overrides or (), by_pip, options)
    typer.echo(f"{job.id} {'submitted' if job.fresh else 'is already running'}: {mask(job.entrypoint)}")
    try:
        raise typer.Exit(follow(job, lambda text: typer.echo(text, nl=False)))
    except KeyboardInterrupt:
        typer.echo(
            f"magray: {job.id} goes on; run the same command to follow it again, "
            f"or stop it: ray job stop {job.id} --address {mask(address)}",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None
