"""Arguments and options that several commands share."""

from typing import Annotated

import typer

ConfigPath = Annotated[  # a Path would take one of a URL's slashes away
    str, typer.Argument(metavar="CONFIG", help="YAML file of the project, as in configs/, or its URL.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the config, such as campaign.films=12."),
]
