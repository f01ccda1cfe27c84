"""The application in one process, on loopback: for the person at this machine, whom no cluster keeps waiting."""

import asyncio
import logging
import socket
from collections.abc import Callable

import uvicorn

from magray.environment import cores
from magray.serve.address import prepare, url_of
from magray.serve.app import make_app

AT_ONCE = 64  # requests, beyond which the answer is 503
MOST_THREADS = 4  # a third of an answer is Python's own work, which one thread does at a time
SECONDS_TO_END = 1  # for answers that are under way
TALKATIVE = ("uvicorn.error", "python_multipart")  # loggers, which would tell of strange requests on the terminal


def run(host: str, port: int, films: str | None, ready: Callable[[str], None]) -> None:
    """Serve the page until a signal ends it. It then has the effect that it has elsewhere: Ctrl-C, KeyboardInterrupt.

    ready: called with the URL of the page as soon as it answers. films: as in `prepare`, and it raises UserError.
    """
    token = prepare(host, port, films)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    _Server(
        uvicorn.Config(
            make_app(token, threads=min(cores(), MOST_THREADS)),
            host=host,
            port=port,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=AT_ONCE,
            timeout_graceful_shutdown=SECONDS_TO_END,
        ),
        lambda: ready(url_of(host, port)),
    ).run()


class _Server(uvicorn.Server):
    """A server that says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            await asyncio.to_thread(self._ready)
