"""Connect to the Ray cluster that work runs on: one named by its address, or a local one on loopback."""

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

from magray.errors import UserError, one_line
from magray.runtime.ray_internals import few_processes, forget_token, listen_on_loopback
from magray.runtime.session import new_session

CONNECT_SECONDS = 5.0
_OPEN_FILES = 1024  # that a process must be allowed to open
_TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_IDLE_SECONDS = 60  # that processes wait for work: Ray ends them after 1, and a stage or an epoch would start new ones


def connect(address: str | None = None, num_cpus: int | None = None) -> None:
    """Join the cluster at `address` (or RAY_ADDRESS), otherwise start a local one with `num_cpus` cores.

    Do nothing if this process is connected already. Raises UserError if no cluster answers at the address, or none
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
    """Return whether the address is that of a cluster's job server, and not of the cluster itself.

    Raises UserError unless it is one or the other.
    """
    if address.startswith(("http://", "https://")):
        return True
    if address not in ("auto", "local") and not re.fullmatch(r"[^/\s]+:\d+", address):
        raise UserError(
            f"{address} is not an address of a cluster: write http://host:8265 to submit a job, host:6379 or auto to "
            "join the cluster that this machine is part of"
        )
    return False


def _join(address: str) -> None:
    if is_job_server(address):
        raise UserError(f"{address} is a job server: magray simulate, fit and study take it as --address")
    if address != "auto":
        _check_reachable(address)
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")  # attempts of 40 s each, of which Ray makes 20
    forget_token()  # of a local Ray that this process had before
    try:
        _init(address=address)
    except ConnectionError as error:
        raise UserError(
            f"{address} is no Ray cluster, or it refuses this machine's token: check RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN or ~/.ray/auth_token"
        ) from error
    except (RuntimeError, ValueError) as error:
        raise UserError(_why_not(address, error)) from error


def _check_reachable(address: str) -> None:
    """Raise UserError if nothing listens at host:port, or a web server, which no Ray cluster is. Ray would retry."""
    host, _, port = address.rpartition(":")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS)
    except (OSError, OverflowError) as error:
        raise UserError(f"no Ray cluster answers at {address}: {error}; is it running?") from error
    with connection, contextlib.suppress(OSError):  # a peer that hangs up or is silent may be a Ray cluster
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        if connection.recv(5) == b"HTTP/":
            raise UserError(f"{address} speaks HTTP; if it is a cluster's job server, write http://{address}")


def _why_not(address: str, error: Exception) -> str:
    """Return the reason why Ray could not join, in one line."""
    versions = re.findall(r"Ray: (\S+)\s+Python: (\S+)", str(error))
    if len(versions) == 2:
        there, here = (f"Ray {of_ray} on Python {of_python}" for of_ray, of_python in versions)
        return f"the cluster at {address} runs {there}, and this machine {here}: install the same versions here"
    return f"this machine cannot join the Ray cluster at {address}: {one_line(error)}"


def _start(num_cpus: int | None) -> None:
    listen_on_loopback()
    _check_open_files()
    session = new_session(ray.shutdown)
    try:
        with _token_in(session.token_file), few_processes():
            _init(
                address="local",  # never join a cluster that somebody else started on this machine
                num_cpus=num_cpus,
                include_dashboard=False,
                _temp_dir=str(session.ray_folder),
                _system_config={
                    "idle_worker_killing_time_threshold_ms": 1000 * _IDLE_SECONDS,
                    "prestart_worker_first_driver": False,  # a process for each core, whether or not it gets work
                },
            )
    except Exception as error:  # Ray raises what it likes
        raise UserError(f"Ray does not start on this machine: {one_line(error)}") from error


def _check_open_files() -> None:
    """Raise UserError if a process may open too few files for Ray, which ends without a message then."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # Ray raises the soft limit to the hard one
    if limit != resource.RLIM_INFINITY and limit < _OPEN_FILES:
        raise UserError(
            f"Ray needs {_OPEN_FILES} open files a process, and {limit} are allowed: "
            f"run `ulimit -n {_OPEN_FILES}` first"
        )


@contextlib.contextmanager
def _token_in(file: Path) -> Iterator[None]:
    """Have Ray, and the processes that it starts, read its token from `file` while the context lasts."""
    before = {name: os.environ.pop(name) for name in _TOKEN_VARIABLES if name in os.environ}
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(file)
    forget_token()
    try:
        yield
    finally:
        del os.environ["RAY_AUTH_TOKEN_PATH"]
        os.environ.update(before)


def _init(**options: Any) -> None:
    """Call ray.init without messages, and leave SIGTERM to this process: Ray's C++ would print its stack.

    Until ray.init returns, Ray's own handler ends the process with the number of the signal as exit code.
    """
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        with _quiet_native_code():
            ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
    except SystemExit as end:
        raise KeyboardInterrupt from end
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)


@contextlib.contextmanager
def _quiet_native_code() -> Iterator[None]:
    """Silence Ray's C++ code, which prints its log level to the terminal before it obeys it."""
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
