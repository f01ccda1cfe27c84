"""Commands that read, check and rewrite a store of simulated films."""

from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magray.cli.console import resumable
from magray.errors import UserError
from magray.files.paths import at_home

if TYPE_CHECKING:
    from magray.store import Store

app = typer.Typer(
    help="Read, check, export or compact a store of simulated films.", no_args_is_help=True, rich_markup_mode=None
)

StoreUri = Annotated[str, typer.Argument(metavar="STORE", help="Folder or URI of the store, as s3://bucket/films.")]

_LISTED = ["film_id", "split", "status", "nx", "ny", "Ms", "Ku1", "Aex", "D", "sigma", "evaluations"]


@app.command("ls")
def list_films(
    store: StoreUri, limit: Annotated[int, typer.Option(min=0, help="Show at most this many films; 0 shows all.")] = 20
) -> None:
    """List films of a store, tab-separated. The order is that of the store's files."""
    from magray.store import open_store

    rows = (row for batch in open_store(store).batches(_LISTED) for row in batch.to_pylist())
    typer.echo("\t".join(_LISTED))
    for row in islice(rows, limit or None):
        typer.echo("\t".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in row.values()))
    if limit and next(rows, None):
        typer.echo("more films follow; --limit 0 shows all", err=True)


@app.command()
def show(store: StoreUri, film_id: Annotated[str, typer.Argument(metavar="FILM", help="Id of one film.")] = "") -> None:
    """Show what a store holds, or all values of one film."""
    from magray.store import open_store

    opened = open_store(store)
    if film_id:
        _show_film(opened, film_id)
    else:
        _show_store(opened)


@app.command()
def verify(
    store: StoreUri,
    plan: Annotated[
        Path | None, typer.Option(metavar="FILE", parser=at_home, help="plan.parquet, to name the missing films.")
    ] = None,
) -> None:
    """Find missing, duplicate, truncated and foreign films. Exit with code 1 if there are any."""
    from magray.films.plan import read_plan
    from magray.store import open_store, verify

    report = verify(open_store(store), read_plan(plan) if plan else None)
    for line in report.lines:
        typer.echo(line)
    if not report.ok:
        raise typer.Exit(1)


class PictureFormat(StrEnum):
    """Formats of `magray store export`."""

    png = "png"
    ovf = "ovf"
    vtk = "vtk"
    hf = "hf"


@app.command()
def export(
    store: StoreUri,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", parser=at_home, help="New folder for the pictures.")],
    format: Annotated[  # noqa: A002
        PictureFormat, typer.Option(help="PNG, OVF or VTK files with films.csv, or a Hugging Face data set.")
    ] = PictureFormat.png,
) -> None:
    """Write the pictures as files. Other programs can read them without the store."""
    from magray.store import export_pictures, open_store

    typer.echo(f"{export_pictures(open_store(store), folder, format.value)} pictures in {folder}")


class DmiKind(StrEnum):
    """Kinds of DMI that `magray store import` can be told."""

    none = "none"
    bulk = "bulk"
    interfacial = "interfacial"


@app.command("import")
def import_(
    store: StoreUri,
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER", parser=at_home, help="Output of mumax3 or drives of Ubermag, also in folders below."
        ),
    ],
    campaign: Annotated[str, typer.Option(metavar="NAME", help="Name of the films' campaign.")] = "imported",
    Ms: Annotated[
        str | None, typer.Option("--Ms", metavar="X", help='Of all films, as "1.1 MA/m"; before what the folders tell.')
    ] = None,
    Ku1: Annotated[str | None, typer.Option("--Ku1", metavar="X", help="Likewise, as the others below.")] = None,
    Aex: Annotated[str | None, typer.Option("--Aex", metavar="X", help="Exchange stiffness.")] = None,
    D: Annotated[str | None, typer.Option("--D", metavar="X", help="DMI, of the kind of --dmi.")] = None,
    dmi: Annotated[DmiKind | None, typer.Option(help="Kind of DMI.")] = None,
    field: Annotated[str | None, typer.Option(metavar="X,Y,Z", help='Applied field, as "0 T, 0 T, 20 mT".')] = None,
) -> None:
    """Add films that mumax3 or Ubermag simulated to a store, one for each folder of fields."""
    from magray.interchange import import_films, known_from_texts

    told = known_from_texts({"Ms": Ms, "Ku1": Ku1, "Aex": Aex, "D": D}, dmi.value if dmi else None, field)
    with resumable():
        done = import_films(store, folders, campaign, told, lambda line: typer.echo(f"magray: {line}", err=True))
    typer.echo(f"{done.read} films read, {done.added} of them new in {store}")


@app.command()
def compact(
    store: StoreUri,
    films_per_file: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Films in a file; by default as many as fill about 80 MB.")
    ] = None,
) -> None:
    """Merge small files into large ones. A store of few large files opens faster."""
    from magray.store import compact, open_store
    from magray.store.lease import lease

    opened = open_store(store)
    with resumable(), lease(opened.location, notify=lambda line: typer.echo(f"magray: {line}", err=True)):
        done = compact(opened, films_per_file)
    typer.echo(
        f"{done.before} files became {done.after}" if done.after != done.before else "the store is already compact"
    )


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
        raise UserError(f"store {store.uri} has no film {film_id}; magray store ls lists its films")
    for name, value in rows.slice(0, 1).to_pylist()[0].items():
        unit = (store.schema.field(name).metadata or {}).get(b"unit", b"1").decode()
        typer.echo(f"{name}: {value}{f' {unit}' if unit != '1' else ''}")
