"""Arguments and options that several commands share."""

from enum import StrEnum
from typing import Annotated

import typer

ConfigPath = Annotated[  # a Path would take one of a URL's slashes away
    str, typer.Argument(metavar="CONFIG", help="YAML file of the project, as in configs/, or its URL.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the config, such as campaign.films=12."),
]


class Tracker(StrEnum):
    """The experiment trackers that fits and searches write to."""

    tensorboard = "tensorboard"
    mlflow = "mlflow"


Track = Annotated[
    list[Tracker] | None,
    typer.Option(
        "--track",
        help="Write curves and parameters for TensorBoard, or to MLflow at MLFLOW_TRACKING_URI; by default both lie in "
        "the project's folder. Can be given twice.",
    ),
]
