"""Where the service listens, and what has to be certain before it does."""

import os
import socket

from magray.errors import UserError
from magray.serve.guard import token_for
from magray.serve.requests import FILMS
from magray.store import open_store


def url_of(host: str, port: int) -> str:
    """Return the URL of the page."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def prepare(host: str, port: int, films: str | None) -> str | None:
    """Return the token that requests have to show, None on loopback, once it is certain that the service can start.

    films: a store whose films are shown beside answers, by this process and those that it starts. Raises UserError if
    it is none, if the port is taken, and for an address that is not loopback without a token.
    """
    token = token_for(host)
    _check_free(host, port)
    if films is not None:
        os.environ[FILMS] = open_store(films).uri
    return token


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host, port))
    except OSError as error:
        raise UserError(f"{host}:{port} cannot be listened on: {error.strerror}; choose another --port") from error
