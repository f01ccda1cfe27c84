"""Write the commented config that a new project starts from."""

import json
import re
from pathlib import Path
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from magray.config.json_schema import json_schema
from magray.errors import UserError
from magray.files.atomic import atomic_write
from magray.files.paths import refuse_credentials

Wanted = Literal["dmi", "ms", "any-film"]
Size = Literal["laptop", "cluster"]

CONFIG = "project.yaml"
SCHEMA = "project.schema.json"  # beside it, for editors
RESULTS = "results"  # the folder beside it


def write_starting_config(folder: Path, wanted: Wanted, size: Size, store: str | None = None) -> Path:
    """Write CONFIG and SCHEMA into a folder, new or not, and return CONFIG's path. Results go beside it, into RESULTS.

    wanted: what the project estimates. size: films and training for the machine. store: folder or URI of the films.
    Raises UserError if there is a CONFIG already, or the store's URI holds credentials.
    """
    refuse_credentials(store or "")
    path = folder / CONFIG
    if path.exists():
        raise UserError(f"{path} is there already; edit it, or choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    schema = json.dumps(json_schema("design" if wanted == "any-film" else "project"), indent=2, ensure_ascii=False)
    for name, text in ((SCHEMA, schema), (CONFIG, starting_config(folder.resolve(), wanted, size, store))):
        with atomic_write(folder / name) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    return path


def starting_config(folder: Path, wanted: Wanted, size: Size, store: str | None = None) -> str:
    """Return the text of the config of a project in `folder`, with the folder's name."""
    loader = PackageLoader("magray.config", "templates")
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.name).strip("-._")[:200] or wanted
    return environment.get_template(f"{wanted}.yaml").render(
        schema=SCHEMA,
        name=_quoted(name),
        output=_quoted(str(folder / RESULTS)),
        store=store and _quoted(store),
        laptop=size == "laptop",
    )


def _quoted(text: str) -> str:
    """Return a text in quotes, as YAML and JSON read it."""
    return json.dumps(text, ensure_ascii=False)
