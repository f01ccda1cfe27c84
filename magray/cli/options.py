"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

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
