"""Commands that run the stages of one project, and use its estimators."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magray.cli.console import INTERRUPTED, print_results, print_tables, resumable
from magray.cli.options import ConfigPath, Overrides
from magray.errors import Refused, UserError
from magray.files.paths import at_home
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


def plan(config: ConfigPath, overrides: Overrides = None) -> None:
    """Write plan.parquet, with one row for each film."""
    print_results([_films_project(config, overrides).plan()])


def simulate(config: ConfigPath, overrides: Overrides = None, address: Address = None, pip: ByPip = False) -> None:
    """Simulate the films that the store lacks."""
    _submit("simulate", config, overrides, address, pip)
    with resumable():
        print_results([_films_project(config, overrides).simulate()])


def fit(config: ConfigPath, overrides: Overrides = None, address: Address = None, pip: ByPip = False) -> None:
    """Fit an estimator for each set of training scales."""
    _submit("fit", config, overrides, address, pip)
    with resumable():
        print_results(_project(config, overrides).fit())


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


def estimate(
    pictures: Annotated[
        list[Path],
        typer.Argument(
            metavar="PICTURE",
            help="PNG, TIFF, JPEG, GIF or BMP of a film's domains; several are of one film.",
        ),
    ],
    estimator: Annotated[
        str,  # a Path would make no difference between ./co-like and co-like
        typer.Option(
            metavar="FOLDER",
            parser=os.path.expanduser,
            help="Folder of the estimator; or co-like or co-like-microscope, which ship with magray "
            "(./co-like is a folder of yours).",
        ),
    ],
    scale_um: Annotated[
        float | None, typer.Option(metavar="X", help="Length of the picture's shorter side, µm.")
    ] = None,
    pixel_nm: Annotated[float | None, typer.Option(metavar="Y", help="Size of a pixel, nm.")] = None,
    max_megapixels: Annotated[float, typer.Option(metavar="N", min=0, help="Refuse larger pictures.")] = 64,
    force: Annotated[bool, typer.Option("--force", help="Show an estimate that cannot be trusted, too.")] = False,
) -> None:
    """Estimate a film's parameters from one or several pictures."""
    if (scale_um is None) == (pixel_nm is None):
        raise UserError("give the size of the picture: either --scale-um or --pixel-nm")
    from magray.project.estimate import estimate_pictures

    answer = estimate_pictures(
        *pictures, estimator=estimator, scale_um=scale_um, pixel_nm=pixel_nm, max_megapixels=max_megapixels
    )
    if answer.reasons and not force:
        raise Refused(f"{'; '.join(answer.reasons)}; --force shows the value all the same")
    typer.echo(str(answer))
    typer.echo(f"trained on {answer.films}")
    for warning in answer.warnings:
        typer.echo(f"warning: {warning}", err=True)


def quickstart(
    config: Annotated[Path, typer.Option(metavar="CONFIG", parser=at_home, help="YAML file of the project.")] = Path(
        "configs/quickstart.yaml"
    ),
    overrides: Overrides = None,
) -> None:
    """Run all stages of a project, and estimate a held-out film."""
    from rich.console import Console

    from magray.config import load_config
    from magray.workflows.quickstart import run

    with resumable():
        run(load_config(config, overrides or ()), Console())


def _project(config: Path, overrides: list[str] | None) -> "Project":
    from magray.config import load_config
    from magray.project.stages import Project

    return Project(load_config(config, overrides or ()))


def _films_project(config: Path, overrides: list[str] | None) -> "FilmsProject":
    from magray.config import DesignedConfig, load_films
    from magray.project.stages import FilmsProject, Project

    settings = load_films(config, overrides or ())
    return FilmsProject(settings) if isinstance(settings, DesignedConfig) else Project(settings)


def _submit(stage: str, config: Path, overrides: list[str] | None, address: str | None, by_pip: bool) -> None:
    """Run the stage as a job and exit with its code, if `address` is a job server; otherwise make Ray join it."""
    if by_pip and not (address or "").startswith("http"):
        raise UserError("--pip is for jobs: give the job server too, as in --address http://127.0.0.1:8265")
    if not address:
        return
    from magray.runtime.connect import is_job_server
    from magray.runtime.jobs import follow, submit_stage

    if not is_job_server(address):
        os.environ["RAY_ADDRESS"] = address
        return
    job = submit_stage(address, stage, config, overrides or (), by_pip)
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
