"""The command line: thin commands over the package. Whatever takes long to import is imported inside a command."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from magray.cli.plain import write_plainly
from magray.errors import UserError, in_words, one_line
from magray.files.paths import at_home
from magray.masking import mask

if TYPE_CHECKING:
    from magray.project.stages import Project, StageResult
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
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar="RAY_ADDRESS",
        metavar="ADDRESS",
        help="Ray cluster to work on: http://host:8265 submits a job there and follows it; auto joins this machine's.",
    ),
]
ByPip = Annotated[
    bool, typer.Option("--pip", help="With http://: the nodes lack magray's image, install magray for the job.")
]
StoreUri = Annotated[
    str, typer.Argument(metavar="STORE", help="Folder or URI of the store, such as s3://bucket/films.")
]


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
    except OSError:  # its disk is full, and Python would try once more at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with suppress(OSError):  # nobody can be told
        typer.echo(f"magray: {mask(' '.join(reason.split()))}", err=True)
    raise SystemExit(exit_code) from None


def _on_signals() -> None:
    """End the command at SIGINT and SIGTERM alike, at the second one at once: Ray dies badly of those that follow."""
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


@app.command()
def plan(config: ConfigPath, overrides: Overrides = None) -> None:
    """Write the plan: one row for each film."""
    _tell(_project(config, overrides).plan())


@app.command()
def simulate(config: ConfigPath, overrides: Overrides = None, address: Address = None, pip: ByPip = False) -> None:
    """Simulate the films that the store lacks."""
    _submit("simulate", config, overrides, address, pip)
    with _resumable():
        _tell(_project(config, overrides).simulate())


@app.command()
def fit(config: ConfigPath, overrides: Overrides = None, address: Address = None, pip: ByPip = False) -> None:
    """Fit an estimator for each set of scales."""
    _submit("fit", config, overrides, address, pip)
    with _resumable():
        _tell(*_project(config, overrides).fit())


@app.command()
def study(config: ConfigPath, overrides: Overrides = None, address: Address = None, pip: ByPip = False) -> None:
    """Test the estimators at every test scale."""
    from rich.console import Console

    from magray.workflows.quickstart import tolerance_tables

    _submit("study", config, overrides, address, pip)
    project = _project(config, overrides)
    _tell(project.study())
    Console().print(*tolerance_tables(project.folder / "study.parquet"))


@app.command()
def search(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file of a search, as in configs/searches.")],
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Try every set, to hold the search against it.")
    ] = False,
    overrides: Overrides = None,
    address: Annotated[
        str | None,
        typer.Option("--address", envvar="RAY_ADDRESS", metavar="ADDRESS", help="Ray cluster to join, such as auto."),
    ] = None,
) -> None:
    """Search for the training scales that are enough."""
    from rich.console import Console

    from magray.config import load_config, load_search
    from magray.report.search import write_search
    from magray.search.run import search
    from magray.search.summary import front_table, summary_lines

    if address:
        os.environ["RAY_ADDRESS"] = address
    settings = load_search(config, overrides or ())
    project = load_config(config.parent / settings.project)
    with _resumable():
        found = search(project, settings, exhaustive, typer.echo)
        page = write_search(settings.folder(project), settings, project.name)
    Console().print(front_table(found.options))
    for line in summary_lines(found, settings):
        typer.echo(line)
    typer.echo(f"all options: {page}")


@app.command()
def protocols(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file that names projects to compare.")],
    overrides: Overrides = None,
) -> None:
    """Test estimators on films of other protocols."""
    from rich.console import Console

    from magray.config import load_protocols
    from magray.report.protocols import error_tables, write_protocols
    from magray.workflows.protocol_transfer import compare_protocols

    settings = load_protocols(config, overrides or ())
    with _resumable():
        table = compare_protocols(settings, config.parent)
        page = write_protocols(settings.output, table)
    Console().print(*error_tables(table))
    typer.echo(f"all scores: {page}")


@app.command()
def paper(
    configs: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with studies/fig*.yaml.")] = Path("configs"),
    results: Annotated[
        Path, typer.Option(metavar="FOLDER", parser=at_home, help="Where figures and tables go.")
    ] = Path("results/paper"),
    small: Annotated[bool, typer.Option("--small", help="A few coarse films: to see that all of it works.")] = False,
    overrides: Overrides = None,
) -> None:
    """Make every figure of the paper, in numbers."""
    from rich.console import Console

    from magray.workflows.paper import run

    with _resumable():
        run(configs, results, Console(), small, overrides or ())


@app.command()
def report(config: ConfigPath, overrides: Overrides = None) -> None:
    """Draw the report and its figures."""
    _tell(_project(config, overrides).report())


@app.command()
def estimate(
    pictures: Annotated[
        list[Path],
        typer.Argument(
            metavar="PICTURE...", help="PNG, TIFF, JPEG, GIF or BMP of a film's domains; or several, of its places."
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
    """Estimate a film's parameters from its picture, or several."""
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


@app.command()
def quickstart(
    config: Annotated[Path, typer.Option(metavar="CONFIG", parser=at_home, help="YAML file of the project.")] = Path(
        "configs/quickstart.yaml"
    ),
    overrides: Overrides = None,
) -> None:
    """Run the whole job, from nothing to a value."""
    from rich.console import Console

    from magray.config import load_config
    from magray.workflows.quickstart import run

    with _resumable():
        run(load_config(config, overrides or ()), Console())


@app.command()
def doctor() -> None:
    """Say what is here, and what is missing."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from magray.cli.doctor import examine

    table = Table(show_header=False, box=None, pad_edge=False)
    for finding in examine(Path.cwd()):
        mark = "[green]✓[/green]" if finding.state == "found" else "[yellow]–[/yellow]"
        table.add_row(mark, f"[bold]{finding.topic}[/bold]", escape(finding.detail))
    Console().print(table)


@store_app.command("ls")
def store_ls(
    store: StoreUri, limit: Annotated[int, typer.Option(min=0, help="Show this many films; 0 shows all.")] = 20
) -> None:
    """List the films of a store, tab-separated, in the order of its files."""
    from magray.store import open_store

    columns = ["film_id", "split", "status", "nx", "ny", "Ms", "Ku1", "Aex", "D", "sigma", "evaluations"]
    rows = (row for batch in open_store(store).batches(columns) for row in batch.to_pylist())
    typer.echo("\t".join(columns))
    for row in islice(rows, limit or None):
        typer.echo("\t".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in row.values()))
    if limit and next(rows, None):
        typer.echo("more films follow; --limit 0 shows all", err=True)


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
    plan: Annotated[
        Path | None, typer.Option(metavar="FILE", parser=at_home, help="plan.parquet, to name the missing films.")
    ] = None,
) -> None:
    """Find missing, duplicate, truncated and foreign films. Exit code 1 if there are any."""
    from magray.files.atomic import read_table
    from magray.films.plan import PLAN_SCHEMA
    from magray.store import open_store, verify

    report = verify(open_store(store), read_table(plan, PLAN_SCHEMA) if plan else None)
    for line in report.lines:
        typer.echo(line)
    if not report.ok:
        raise typer.Exit(1)


class PictureFormat(StrEnum):
    """What `magray store export` writes."""

    png = "png"
    ovf = "ovf"
    hf = "hf"


@store_app.command("export")
def store_export(
    store: StoreUri,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", parser=at_home, help="New folder for the pictures.")],
    format: Annotated[  # noqa: A002
        PictureFormat, typer.Option(help="PNG or OVF files and films.csv, or a data set of Hugging Face.")
    ] = PictureFormat.png,
) -> None:
    """Write the pictures for programs that do not read the store."""
    from magray.store import export_pictures, open_store

    typer.echo(f"{export_pictures(open_store(store), folder, format.value)} pictures in {folder}")


@store_app.command("compact")
def store_compact(
    store: StoreUri,
    films_per_file: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Films a file; as many as make some 80 MB if not given.")
    ] = None,
) -> None:
    """Merge the small files of a store into large ones, which every reader opens faster."""
    from magray.store import compact, open_store
    from magray.store.lease import lease

    opened = open_store(store)
    with _resumable(), lease(opened.location, notify=lambda line: typer.echo(f"magray: {line}", err=True)):
        done = compact(opened, films_per_file)
    typer.echo(f"{done.before} files became {done.after}" if done.after != done.before else "the store is compact")


def _project(config: Path, overrides: list[str] | None) -> "Project":
    from magray.config import load_config
    from magray.project.stages import Project

    return Project(load_config(config, overrides or ()))


def _submit(stage: str, config: Path, overrides: list[str] | None, address: str | None, by_pip: bool) -> None:
    """Has a job do the stage and exits as it does, if `address` is a job server's. Otherwise it is Ray's to join."""
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


def _tell(*outcomes: "StageResult") -> None:
    from rich.console import Console

    from magray.workflows.quickstart import tell

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


def _show_store(store: "Store") -> None:
    status = store.table(["status"])
    typer.echo(f"campaign {store.campaign}: {status.num_rows} of {store.planned} films at {store.uri}")
    for count in status.group_by("status").aggregate([([], "count_all")]).sort_by("status").to_pylist():
        typer.echo(f"  {count['status']}: {count['count_all']}")
    typer.echo(f"files: {store.glob}")
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
