"""Commands on one project: its stages from the plan to the report, and estimates by its estimators."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magray.cli.console import INTERRUPTED, resumable, show
from magray.cli.options import Address, ByPip, ConfigPath, Overrides
from magray.errors import UserError
from magray.files.paths import at_home
from magray.masking import mask

if TYPE_CHECKING:
    from magray.project.stages import Project


def plan(config: ConfigPath, overrides: Overrides = None) -> None:
    """Write the plan of a campaign: one row for each film."""
    show(_project(config, overrides).plan())


def simulate(config: ConfigPath, overrides: Overrides = None, address: Address = None, pip: ByPip = False) -> None:
    """Simulate the films that the store does not hold yet."""
    _submit("simulate", config, overrides, address, pip)
    with resumable():
        show(_project(config, overrides).simulate())


def fit(config: ConfigPath, overrides: Overrides = None, address: Address = None, pip: ByPip = False) -> None:
    """Fit an estimator for each set of training scales."""
    _submit("fit", config, overrides, address, pip)
    with resumable():
        show(*_project(config, overrides).fit())


def study(config: ConfigPath, overrides: Overrides = None, address: Address = None, pip: ByPip = False) -> None:
    """Test the estimators at every test scale."""
    from rich.console import Console

    from magray.workflows.quickstart import tolerance_tables

    _submit("study", config, overrides, address, pip)
    project = _project(config, overrides)
    show(project.study())
    Console().print(*tolerance_tables(project.folder / "study.parquet"))


def report(config: ConfigPath, overrides: Overrides = None) -> None:
    """Write the report page and its figures."""
    show(_project(config, overrides).report())


def estimate(
    pictures: Annotated[
        list[Path],
        typer.Argument(
            metavar="PICTURE...",
            help="PNG, TIFF, JPEG, GIF or BMP of a film's domains; or several of one film.",
        ),
    ],
    estimator: Annotated[
        str,  # a Path would not tell ./co-like from co-like
        typer.Option(
            metavar="FOLDER",
            parser=os.path.expanduser,
            help="Folder of the estimator; or co-like or co-like-microscope, which come with magray "
            "(./co-like is a folder of yours).",
        ),
    ],
    scale_um: Annotated[
        float | None, typer.Option(metavar="X", help="Length of the picture's shorter side, µm.")
    ] = None,
    pixel_nm: Annotated[float | None, typer.Option(metavar="Y", help="Size of a pixel, nm.")] = None,
    max_megapixels: Annotated[float, typer.Option(metavar="N", min=0, help="Refuse larger pictures.")] = 64,
) -> None:
    """Estimate a film's parameters from one or several pictures of it."""
    if (scale_um is None) == (pixel_nm is None):
        raise UserError("say how large the picture is: give either --scale-um or --pixel-nm")
    from magray.project.stages import estimate_pictures

    answer = estimate_pictures(
        *pictures, estimator=estimator, scale_um=scale_um, pixel_nm=pixel_nm, max_megapixels=max_megapixels
    )
    typer.echo(str(answer))
    typer.echo(f"learned from {answer.films}")
    for warning in answer.warnings:
        typer.echo(f"warning: {warning}", err=True)


def quickstart(
    config: Annotated[Path, typer.Option(metavar="CONFIG", parser=at_home, help="YAML file of the project.")] = Path(
        "configs/quickstart.yaml"
    ),
    overrides: Overrides = None,
) -> None:
    """Run every stage of a small project, from films to an estimate."""
    from rich.console import Console

    from magray.config import load_config
    from magray.workflows.quickstart import run

    with resumable():
        run(load_config(config, overrides or ()), Console())


def _project(config: Path, overrides: list[str] | None) -> "Project":
    from magray.config import load_config
    from magray.project.stages import Project

    return Project(load_config(config, overrides or ()))


def _submit(stage: str, config: Path, overrides: list[str] | None, address: str | None, by_pip: bool) -> None:
    """Run the stage as a job and exit as it does, if `address` is that of a job server.

    Any other address is left to Ray, which joins the cluster there. Raises UserError for --pip without a job server.
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
    job = submit_stage(address, stage, config, overrides or (), by_pip)
    typer.echo(f"{job.id} {'submitted' if job.fresh else 'is under way already'}: {mask(job.entrypoint)}")
    try:
        raise typer.Exit(follow(job, lambda text: typer.echo(text, nl=False)))
    except KeyboardInterrupt:
        typer.echo(
            f"magray: {job.id} goes on; run the same command to follow it again, "
            f"or stop it: ray job stop {job.id} --address {mask(address)}",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None
