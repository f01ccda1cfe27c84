"""The Ray cluster that work runs on: one named by its address, or a local one on loopback."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

import ray
from ray._private import ray_constants

from magray.errors import UserError


def connect(address: str | None = None, num_cpus: int | None = None) -> None:
    """Joins the cluster at `address` (or RAY_ADDRESS), otherwise starts a local one with `num_cpus` cores.

    Does nothing if this process is connected already. Raises UserError if no cluster answers at the address.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's future default; silences its warning
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray Data's actors make its core log errors that are none
    address = address or os.environ.get("RAY_ADDRESS")
    if address and address != "local":
        _join(address)
    else:
        _start(num_cpus)


def _join(address: str) -> None:
    try:
        with _quiet_native_code():
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"no Ray cluster answers at {address}: {str(error).splitlines()[0]}") from error


def _start(num_cpus: int | None) -> None:
    # Otherwise Ray listens on every interface, even if asked for 127.0.0.1: this is what it does on macOS and Windows.
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
    with _quiet_native_code():
        # "local": never join a cluster that somebody else started on this machine
        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )


@contextlib.contextmanager
def _quiet_native_code() -> Iterator[None]:
    """Ray's C++ announces its log level on the terminal before it heeds it."""
    sys.stderr.flush()
    terminal = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)
