"""Run commands of `magray` as a Ray job, after the autoscaler has brought GPUs."""

import argparse
import sys

from magray.cli import app as cli
from magray.errors import UserError
from magray.runtime.connect import connect
from magray.runtime.resources import wait_for_gpus


def run(*commands: str) -> None:
    """Run commands of `magray` one after the other with the arguments of this process; exit with their exit code.

    The option --gpus N is for this function alone: it brings the cluster to N GPUs first.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--gpus", type=int, default=0)
    options, arguments = parser.parse_known_args()
    if options.gpus:
        try:
            connect()
            wait_for_gpus(options.gpus, print)
        except UserError as error:
            parser.exit(2, f"magray: {error}\n")
    for command in commands:
        sys.argv = ["magray", command, *arguments]
        try:
            cli.main()
        except SystemExit as end:
            if end.code:
                raise
