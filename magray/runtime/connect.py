"""The Ray cluster that work runs on: one named by its address, or a local one on loopback."""

import contextlib
import logging
import os
import re
import resource
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants
from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]  # compiled

from magray.errors import UserError
from magray.runtime.session import new_session

CONNECT_SECONDS = 5.0
OPEN_FILES = 1024  # that a process must be allowed to open
TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
IDLE_SECONDS = 60  # that processes wait for work: Ray ends them after 1, and a stage or an epoch would start new ones


def connect(address: str | None = None, num_cpus: int | None = None) -> None:
    """Joins the cluster at `address` (or RAY_ADDRESS), otherwise starts a local one with `num_cpus` cores.

    Does nothing if this process is connected already. Raises UserError if no cluster answers at the address, or none
    that this process can join.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's future default; silences its warning
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray Data's actors make its core log errors that are none
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # a second task that fails like the one that is reported
    address = address or os.environ.get("RAY_ADDRESS")
    if address and address != "local":
        _join(address)
    else:
        _start(num_cpus)


def is_job_server(address: str) -> bool:
    """Whether the address is that of a cluster's job server, and not of the cluster itself.

    Raises UserError unless it is one or the other.
    """
    if address.startswith(("http://", "https://")):
        return True
    if address not in ("auto", "local") and not re.fullmatch(r"[^/\s]+:\d+", address):
        raise UserError(
            f"{address} is no address to work at: write http://host:8265 to submit a job, host:6379 or auto to join "
            "the cluster that this machine is part of"
        )
    return False


def _join(address: str) -> None:
    if is_job_server(address):
        raise UserError(f"{address} is a job server: magray simulate, fit and study take it as --address")
    if address != "auto":
        _check_reachable(address)
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")  # attempts of 40 s each, of which Ray makes 20
    AuthenticationTokenLoader.instance().reset_cache()  # of a local Ray that this process had before
    try:
        _init(address=address)
    except ConnectionError as error:
        raise UserError(
            f"{address} is no Ray cluster, or it refuses this machine's token: check RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN or ~/.ray/auth_token"
        ) from error
    except (RuntimeError, ValueError) as error:
        raise UserError(_why_not(address, str(error))) from error


def _check_reachable(address: str) -> None:
    """Raises UserError if nobody listens at host:port, or a web server, which no Ray cluster is. Ray would retry."""
    host, _, port = address.rpartition(":")
    try:
        door = socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS)
    except (OSError, OverflowError) as error:
        raise UserError(f"no Ray cluster answers at {address}: {error}; is it running?") from error
    with door, contextlib.suppress(OSError):  # who hangs up or says nothing may be anybody
        door.sendall(b"GET / HTTP/1.0\r\n\r\n")
        if door.recv(5) == b"HTTP/":
            raise UserError(f"{address} speaks HTTP; if it is a cluster's job server, write http://{address}")


def _why_not(address: str, said: str) -> str:
    """What kept Ray from joining, in one line."""
    versions = re.findall(r"Ray: (\S+)\s+Python: (\S+)", said)
    if len(versions) == 2:
        there, here = (f"Ray {of_ray} on Python {of_python}" for of_ray, of_python in versions)
        return f"the cluster at {address} runs {there}, and this machine {here}: install the same versions here"
    return f"this machine cannot join the Ray cluster at {address}: {said.splitlines()[0]}"


def _start(num_cpus: int | None) -> None:
    # Otherwise Ray listens on every interface, even if asked for 127.0.0.1: this is what it does on macOS and Windows.
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
    _check_open_files()
    session = new_session(ray.shutdown)
    try:
        with _token_in(session.token_file):
            _init(
                address="local",  # never join a cluster that somebody else started on this machine
                num_cpus=num_cpus,
                include_dashboard=False,
                _temp_dir=str(session.ray_folder),
                _system_config={"idle_worker_killing_time_threshold_ms": 1000 * IDLE_SECONDS},
            )
    except Exception as error:  # Ray raises what it likes
        raise UserError(f"Ray does not start on this machine: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _check_open_files() -> None:
    """Raises UserError if a process may open too few files for Ray, which ends without a word then."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # Ray raises the soft limit to the hard one
    if limit != resource.RLIM_INFINITY and limit < OPEN_FILES:
        raise UserError(
            f"Ray needs {OPEN_FILES} open files a process, and {limit} are allowed: run `ulimit -n {OPEN_FILES}` first"
        )


@contextlib.contextmanager
def _token_in(file: Path) -> Iterator[None]:
    """While the context lasts, Ray reads its token from `file`, and tells the processes that it starts to do so."""
    before = {name: os.environ.pop(name) for name in TOKEN_VARIABLES if name in os.environ}
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(file)
    AuthenticationTokenLoader.instance().reset_cache()
    try:
        yield
    finally:
        del os.environ["RAY_AUTH_TOKEN_PATH"]
        os.environ.update(before)


def _init(**options: Any) -> None:
    """Calls ray.init so that it says nothing, and leaves SIGTERM to this process: Ray's C++ would show its stack."""
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with _quiet_native_code():
        ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)


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
