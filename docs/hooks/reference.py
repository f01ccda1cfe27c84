"""Hook of mkdocs: the reference pages, made from the code at every build."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import pyarrow as pa
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

import magray
from magray.cli.app import app
from magray.config.json_schema import MODELS, Kind, json_schema
from magray.films.plan import PLAN_SCHEMA
from magray.store.schema import ENERGY_TERMS, STORE_SCHEMA

Json = dict[str, Any]
COLUMNS = {  # what the columns of plans and stores hold
    "film_id": "hash of all that decides the picture",
    "campaign": "`name` of the config",
    "split": "train or test; follows from the id",
    "nx": "cells along x",
    "ny": "cells along y",
    "dx": "size of a cell along x",
    "dy": "size of a cell along y",
    "dz": "size of a cell along z: the thickness",
    "Ms": "saturation magnetisation",
    "Ku1": "mean uniaxial anisotropy along z",
    "Aex": "exchange stiffness",
    "D": "Dzyaloshinskii-Moriya constant",
    "dmi": "its kind: bulk, interfacial or none",
    "sigma": "standard deviation of Ku1 from grain to grain, relative to Ku1",
    "grain_size": "mean size of a grain; 0: each cell is a grain",
    "Hx": "applied field along x",
    "Hy": "applied field along y",
    "Hz": "applied field along z",
    "seed": "of the random start, the map of Ku1 and the thermal field",
    "open_edges": "axes along which the film ends",
    "demag": "false: no demagnetising field",
    "protocol": "initial state and stages; of an imported film, its origin",
    "physics_version": "changes when the same inputs give another picture",
    "image": "the picture of m_z; of a failed film null",
    "height": "rows of the picture",
    "width": "columns of the picture",
    "pixel_nm": "size of a pixel",
    **{f"energy_{term}": f"energy per volume, {term}" for term in ENERGY_TERMS},
    "max_torque": "largest torque that is left",
    "evaluations": "evaluations of the field that the film took",
    "status": "how the simulation ended",
    "reason": "why it failed or did not converge; otherwise empty",
    "solver": "version and backend",
    "device": "processor or GPU",
    "seconds": "of the simulation; films that share a GPU share its time",
    "loop": "hysteresis loop of a film with a sweep; otherwise null",
}
MODULES = ("magray.theory", "magray.imaging.statistics")  # public, and not exported from magray itself
SHORTENED = re.compile(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n")  # a list of commands with their helps cut off


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the reference."""
    pages = {"commands": commands(), "python": python(), "configs": configs(), "store": store()}
    for name, content in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def commands() -> str:
    """Return the page of the command line: what --help prints, of every command."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="magray", title="Commands")
    return SHORTENED.sub("", text)


def python() -> str:
    """Return the page of the Python interface. mkdocstrings puts in the docstrings."""
    names = [f"magray.{name}" for name in magray.__all__ if not name.startswith("_")]
    members = "    options: {members: true, show_root_full_path: true}"
    parts = [f"::: {name}" for name in sorted(names, key=str.lower)] + [f"::: {name}\n{members}" for name in MODULES]
    return "\n\n".join(["# Python", "Numbers are SI. `import magray` gives the names up to `magray.theory`.", *parts])


def configs() -> str:
    """Return the page of all keys of the configs."""
    lines = [
        "# Configs",
        "",
        "Every key of every kind of config, as `magray schema KIND` tells it to editors. A key without a default is",
        "required, unless it is optional. A quantity carries its unit.",
    ]
    for kind in get_args(Kind):
        schema = json_schema(kind)
        lines += ["", f"## {kind}", "", _inner_text(MODELS[kind].__doc__)]
        lines += _section(kind, "", schema, schema.get("$defs", {}))
    return "\n".join(lines) + "\n"


def _section(kind: str, path: str, section: Json, sections: Json) -> Iterator[str]:
    """Yield a section's table, and after it those of the sections in it."""
    if path:
        yield from ("", f"### `{path}` {{#{_anchor(kind, path)}}}", "", _inner_text(section.get("description", "")))
    yield from ("", "| key | value | |", "|---|---|---|")
    inner: list[tuple[str, str]] = []
    for key, described in section["properties"].items():
        place = f"{path}.{key}".removeprefix(".")
        names = list(_references(described))
        inner += [(place, name) for name in names]
        shown = f"[`{key}`](#{_anchor(kind, place)})" if names else f"`{key}`"
        optional = "" if key in section.get("required", ()) or described.get("default") is not None else "Optional. "
        yield f"| {shown} | {_value(described)} | {optional}{_inner_text(described.get('description', ''))} |"
    for place, name in inner:
        yield from _section(kind, place, sections[name], sections)


def _references(described: Json) -> Iterator[str]:
    """Yield the names of the sections that a key may hold."""
    if "$ref" in described:
        yield described["$ref"].rpartition("/")[2]
    for part in described.get("anyOf", ()):
        yield from _references(part)
    if "items" in described:
        yield from _references(described["items"])


def _value(described: Json) -> str:
    """Return in words what may stand behind a key."""
    match described:
        case {"$ref": _}:
            return "section"
        case {"anyOf": kinds}:
            return " or ".join(_value(kind) for kind in kinds if kind.get("type") != "null")
        case {"const": choice}:
            return f"`{choice}`"
        case {"enum": choices}:
            return ", ".join(f"`{choice}`" for choice in choices)
        case {"type": "array"}:
            return _list(described)
        case {"properties": {"uniform": _}}:
            return "`{uniform: [low, high]}`"
        case {"examples": [example, *_]}:
            return f"as `{example}`"
    kind = str(described["type"])
    return {"object": "mapping", "string": "text", "boolean": "true or false"}.get(kind, kind)


def _list(described: Json) -> str:
    item = _value(described.get("items") or described["prefixItems"][0])
    of_one_length = described.get("minItems") == described.get("maxItems", "any")
    return f"list of {described['minItems']}: {item}" if of_one_length else f"list: {item}"


def _anchor(kind: str, path: str) -> str:
    return "-".join([kind, *path.split(".")])


def _inner_text(text: str | None) -> str:
    """Return a description on one line, for a cell of a table."""
    return " ".join((text or "").split()).replace("|", r"\|")


def store() -> str:
    """Return the page of the columns of a plan and of a store."""
    later = pa.schema([field for field in STORE_SCHEMA if field.name not in PLAN_SCHEMA.names])
    return "\n".join(
        [
            "# Store",
            "",
            "A plan and a store are Parquet files with one row for each film ([how to read them](../analysis.md)).",
            "A unit is in the metadata of its column, under the key `unit`.",
            "",
            "## plan.parquet, and the first columns of a store",
            "",
            *_columns(PLAN_SCHEMA),
            "",
            "## Further columns of a store",
            "",
            *_columns(later),
            "",
        ]
    )


def _columns(schema: pa.Schema) -> Iterator[str]:
    yield from ("| column | type | unit | null | |", "|---|---|---|---|---|")
    for field in schema:
        about = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        unit = about.pop("unit", "")
        details = "; ".join([COLUMNS[field.name], *(f"{name}: {text}" for name, text in about.items())])
        kind = str(field.type).replace(" not null", "")
        yield f"| `{field.name}` | `{kind}` | {unit} | {'can be' if field.nullable else ''} | {details} |"
