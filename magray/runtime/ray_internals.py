"""The private parts of Ray that magray uses, for want of public ones.

tests/runtime/test_ray_internals.py fails when Ray changes them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray._private import ray_constants, utils
from ray._private.node import Node
from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]  # compiled


def listen_on_loopback() -> None:
    """Have a Ray that is started from now on listen on loopback alone, which it does on macOS and Windows.

    On Linux it listens on every interface even if asked for 127.0.0.1, and no option of ray.init changes that. The
    constant is for this process, which has read the environment already, the variable for those that Ray starts.
    """
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False


def forget_token() -> None:
    """Have this process read its token again, as before it joins another cluster.

    Ray reads it once in a process and offers no way to read it anew.
    """
    AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def few_processes() -> Iterator[None]:
    """Have a Ray that is started while the context lasts do without the processes that a local one has no use for.

    They are an API server, a monitor that asks for nodes, and a reader of logs, all in Python, and the part of the
    node's agent that exports metrics. No option of ray.init leaves them out.
    """
    replaced: list[tuple[Any, str, Any]] = [
        (Node, "start_api_server", _do_nothing),
        (Node, "start_monitor", _do_nothing),
        (Node, "start_log_monitor", _do_nothing),
        (utils, "get_dashboard_dependency_error", ImportError),  # as if the agent's packages were not installed
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
    try:
        for owner, name, value in replaced:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _do_nothing(*_: object, **__: object) -> None:
    pass
