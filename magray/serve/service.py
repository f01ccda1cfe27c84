"""The application on Ray Serve, for a group: by `magray serve --host`, and on a cluster by cluster/serve.yaml."""

import logging
import os
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve.config import HTTPOptions
from ray.serve.schema import LoggingConfig

from magray.environment import cores
from magray.errors import UserError, one_line
from magray.runtime.connect import connect
from magray.serve.address import prepare, url_of
from magray.serve.app import make_app
from magray.serve.guard import token_of_environment

QUEUED = 64  # requests, beyond which Ray Serve answers 503
AT_ONCE = 8  # requests that a replica reads; it answers them one after the other
BUSY_MACHINE = {  # settings of Ray for a machine that does other things
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "50",  # after fewer seconds, Ray would start its HTTP server anew
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "50",
    "RAY_worker_niceness": "0",  # Ray's is 15, as for work in the background, but somebody waits for the page
}
START_SECONDS = 180.0
LOGGING = LoggingConfig(enable_access_log=False, log_level="ERROR")


def build(arguments: dict[str, Any]) -> Application:
    """Return the application for a cluster, whose replicas cluster/serve.yaml counts. It takes no arguments.

    Raises UserError unless the environment holds a token: a cluster is not on loopback.
    """
    if arguments:
        raise UserError(f"the application takes no arguments, not {', '.join(arguments)}")
    token_of_environment()
    return application(with_token=True)


def application(with_token: bool, **autoscaling: int) -> Application:
    """Return the application. A replica keeps one core busy, and reads the token from its own environment."""

    def made() -> FastAPI:
        node = ray.get_runtime_context().get_node_id()
        return make_app(token_of_environment() if with_token else None, node)

    deployed = serve.deployment(
        name="magray",
        ray_actor_options={"num_cpus": 1},
        max_ongoing_requests=AT_ONCE,
        max_queued_requests=QUEUED,
        autoscaling_config={"target_ongoing_requests": 2, "upscale_delay_s": 2, **autoscaling},
        logging_config=LOGGING,
    )
    return deployed(serve.ingress(made)()).bind()


def start(host: str, port: int, films: str | None = None) -> str:
    """Start the service on this machine, and return the URL of its page; it runs until this process ends.

    films: a store whose films are shown beside answers. Raises UserError if it is none, if the port is taken, and for
    an address that is not loopback without a token.
    """
    with_token = prepare(host, port, films) is not None
    for name, value in BUSY_MACHINE.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    connect("local")  # never the cluster of RAY_ADDRESS: there it is `serve deploy`
    try:
        with suppress(TimeoutError):  # of 60 s, which a busy machine may exceed; `_wait_for` waits on
            serve.start(http_options=HTTPOptions(host=host, port=port), logging_config=LOGGING)
        serve.run(application(with_token, max_replicas=max(1, cores())), name="magray", route_prefix="/")
    except Exception as error:  # Ray raises what it likes
        raise UserError(f"Ray Serve does not start on this machine: {one_line(error)}") from error
    url = url_of(host, port)
    _wait_for(url)
    return url


def _wait_for(url: str) -> None:
    """Return when the page is served, or asked a token for."""
    end, direct = time.monotonic() + START_SECONDS, build_opener(ProxyHandler({}))
    while time.monotonic() < end:
        try:
            direct.open(url, timeout=START_SECONDS).close()
            return
        except HTTPError as error:
            if error.code == HTTPStatus.UNAUTHORIZED:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise UserError(f"{url} does not answer after {START_SECONDS:.0f} s; is this machine busy? Try again")
