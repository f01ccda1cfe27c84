"""The command line: thin commands over the package. Whatever takes long to import is imported inside a command."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from magray.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

    from magray.project import Outcome, Project
    from magray.store import Store

INTERRUPTED = 130  # as shells say it: 128 + SIGINT

app = typer.Typer(
    help="A magnetic film's parameters from one picture of its domains: simulate, learn, estimate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
store_app = typer.Typer(help="Look into a store of simulated films.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(store_app, name="store")

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file of the project, as in configs/.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the config, as campaign.films=12."),
]
StoreUri = Annotated[
    str, typer.Argument(metavar="STORE", help="Folder or URI of the store, such as s3://bucket/films.")
]


def main() -> None:
    """The `magray` command. What a user can mend is one line on stderr and exit code 2."""
    try:
        app()
    except UserError as error:
        _stop(str(error))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _stop(f"no room left on the disk ({error.filename or 'or its quota'}); free some space and run again")


def _stop(reason: str) -> NoReturn:
    typer.echo(f"magray: {' '.join(reason.split())}", err=True)
    raise SystemExit(2) from None


@app.command()
def plan(config: ConfigPath, overrides: Overrides = None) -> None:
    """Write the plan: one row for each film."""
    _tell(_project(config, overrides).plan())


@app.command()
def simulate(config: ConfigPath, overrides: Overrides = None) -> None:
    """Simulate the films that the store lacks."""
    with _resumable():
        _tell(_project(config, overrides).simulate())


@app.command()
def fit(config: ConfigPath, overrides: Overrides = None) -> None:
    """Fit an estimator for each set of scales."""
    with _resumable():
        _tell(*_project(config, overrides).fit())


@app.command()
def study(config: ConfigPath, overrides: Overrides = None) -> None:
    """Test the estimators at every test scale."""
    from rich.console import Console

    from magray.quickstart import tolerance_tables

    project = _project(config, overrides)
    _tell(project.study())
    Console().print(*tolerance_tables(project.folder / "study.parquet"))


@app.command()
def report(config: ConfigPath, overrides: Overrides = None) -> None:
    """Draw the report and its figures."""
    _tell(_project(config, overrides).report())


@app.command()
def estimate(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="PNG, TIFF or JPEG of the film's domains.")],
    estimator: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the estimator.")],
    scale_um: Annotated[
        float | None, typer.Option(metavar="X", help="Length of the picture's shorter side, µm.")
    ] = None,
    pixel_nm: Annotated[float | None, typer.Option(metavar="Y", help="Size of a pixel, nm.")] = None,
) -> None:
    """Estimate parameters from one picture."""
    if (scale_um is None) == (pixel_nm is None):
        raise UserError("say how large the picture is: give either --scale-um or --pixel-nm")
    from magray.project import estimate_picture

    answer = estimate_picture(picture, estimator, scale_um=scale_um, pixel_nm=pixel_nm)
    typer.echo(str(answer))
    for warning in answer.warnings:
        typer.echo(f"warning: {warning}", err=True)


@app.command()
def quickstart(
    config: Annotated[Path, typer.Option(metavar="CONFIG", help="YAML file of the project.")] = Path(
        "configs/quickstart.yaml"
    ),
    overrides: Overrides = None,
) -> None:
    """Run the whole job, from nothing to a value."""
    from rich.console import Console

    from magray.config import load_config
    from magray.quickstart import run

    with _resumable():
        run(load_config(config, overrides or ()), Console())


@app.command()
def doctor() -> None:
    """Say what is here, and what is missing."""
    from rich.console import Console
    from rich.table import Table

    from magray.doctor import examine

    table = Table(show_header=False, box=None, pad_edge=False)
    for finding in examine(Path.cwd()):
        mark = "[green]✓[/green]" if finding.state == "found" else "[yellow]–[/yellow]"
        table.add_row(mark, f"[bold]{finding.topic}[/bold]", finding.detail)
    Console().print(table)


@store_app.command("ls")
def store_ls(
    store: StoreUri, limit: Annotated[int, typer.Option(min=0, help="Show this many films; 0 shows all.")] = 20
) -> None:
    """List the films of a store, tab-separated."""
    from magray.store import open_store

    columns = ["film_id", "split", "status", "nx", "ny", "Ms", "Ku1", "Aex", "D", "sigma", "evaluations"]
    rows = open_store(store).table(columns).sort_by("film_id")
    typer.echo("\t".join(columns))
    for row in rows.slice(0, limit or None).to_pylist():
        typer.echo("\t".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in row.values()))
    if limit and rows.num_rows > limit:
        typer.echo(f"{rows.num_rows - limit} more; --limit 0 shows all", err=True)


@store_app.command("show")
def store_show(
    store: StoreUri, film_id: Annotated[str, typer.Argument(metavar="FILM", help="Id of one film.")] = ""
) -> None:
    """Show what a store holds, or everything about one of its films."""
    from magray.store import open_store

    opened = open_store(store)
    if film_id:
        _show_film(opened, film_id)
    else:
        _show_store(opened)


@store_app.command("verify")
def store_verify(
    store: StoreUri,
    plan: Annotated[Path | None, typer.Option(metavar="FILE", help="plan.parquet, to name the missing films.")] = None,
) -> None:
    """Find missing, duplicate, truncated and foreign films. Exit code 1 if there are any."""
    from magray.store import open_store, verify

    report = verify(open_store(store), _read_plan(plan) if plan else None)
    for line in report.lines:
        typer.echo(line)
    if not report.ok:
        raise typer.Exit(1)


@store_app.command("export")
def store_export(
    store: StoreUri, folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder for the pictures.")]
) -> None:
    """Write the pictures as PNG files and everything else as films.csv."""
    from magray.store import export_pictures, open_store

    typer.echo(f"{export_pictures(open_store(store), folder)} pictures in {folder}")


def _project(config: Path, overrides: list[str] | None) -> "Project":
    from magray.config import load_config
    from magray.project import Project

    return Project(load_config(config, overrides or ()))


def _tell(*outcomes: "Outcome") -> None:
    from rich.console import Console

    from magray.quickstart import tell

    for outcome in outcomes:
        tell(outcome, Console())


@contextmanager
def _resumable() -> Iterator[None]:
    """Ctrl-C during work that can be gone on with says so."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("magray: interrupted; what is finished is kept, run the same command again to go on", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _read_plan(path: Path) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path} cannot be read as a plan; magray plan writes one") from error


def _show_store(store: "Store") -> None:
    from collections import Counter

    states = Counter(store.table(["status"])["status"].to_pylist())
    typer.echo(f"campaign {store.campaign}: {sum(states.values())} of {store.planned} films at {store.uri}")
    for state, count in sorted(states.items()):
        typer.echo(f"  {state}: {count}")
    typer.echo("columns")
    for column in store.schema:
        unit = (column.metadata or {}).get(b"unit", b"").decode()
        typer.echo(f"  {column.name}: {column.type}{f', {unit}' if unit not in ('', '1') else ''}")


def _show_film(store: "Store", film_id: str) -> None:
    import pyarrow.compute as pc

    rows = store.table(filter=pc.field("film_id") == film_id)
    if not rows.num_rows:
        raise UserError(f"store {store.uri} has no film {film_id}; magray store ls lists them")
    for name, value in rows.slice(0, 1).to_pylist()[0].items():
        unit = (store.schema.field(name).metadata or {}).get(b"unit", b"1").decode()
        typer.echo(f"{name}: {value}{f' {unit}' if unit != '1' else ''}")
