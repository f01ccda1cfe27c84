"""Where the service listens, and what it shows there."""

import os
import socket

from magray.errors import UserError
from magray.serve.requests import FILMS
from magray.store import open_store


def url_of(host: str, port: int) -> str:
    """Return the URL of the page."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def check_free(host: str, port: int) -> None:
    """Raise UserError if nothing can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host, port))
    except OSError as error:
        raise UserError(f"{host}:{port} cannot be listened on: {error.strerror}; choose another --port") from error


def show_films(store: str) -> None:
    """Show films of a store beside answers, here and in processes that start. Raises UserError if it is none."""
    os.environ[FILMS] = open_store(store).uri
