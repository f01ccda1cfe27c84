"""Guard every answer: the token, whence a request may come, and the headers that browsers obey."""

import base64
import binascii
import hmac
import os
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from magray.errors import UserError
from magray.serve.problems import ProblemResponse

TOKEN = "MAGRAY_SERVE_TOKEN"  # the variable of the environment
SHORTEST_TOKEN = 16  # characters
LOOPBACK = ("localhost", "127.0.0.1", "::1")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
ASK = {"WWW-Authenticate": 'Basic realm="magray", charset="UTF-8"'}


def token_for(host: str) -> str | None:
    """Return what requests to this address have to show; None on loopback. Raises UserError if it is not set."""
    return None if host in LOOPBACK else token_of_environment()


def token_of_environment() -> str:
    """Return the token of the service. Raises UserError if there is none, or one that can be guessed."""
    token = os.environ.get(TOKEN, "")
    if len(token) < SHORTEST_TOKEN:
        raise UserError(
            f"set {TOKEN} to a secret of at least {SHORTEST_TOKEN} characters, as from `openssl rand -hex 32`: "
            "whoever is not on this machine has to show it"
        )
    return token


class Guard:
    """An application behind a token. Without one, only this machine's own names of itself are answered.

    Otherwise any page of the web could have its name mean this machine, and read what a browser may read here.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = refusal(Headers(scope=scope), self.token) or self.app
        await answer(scope, receive, send_guarded)


def refusal(headers: Headers, token: str | None) -> ProblemResponse | None:
    """Return the answer to a request that may not come in; None if it may."""
    host = headers.get("host", "")
    if token is None and _name(f"//{host}") not in LOOPBACK:
        return ProblemResponse(403, "this server has no token, so it answers to localhost and 127.0.0.1 only")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return ProblemResponse(403, "pages of other servers may not ask this one")
    if token is not None and not hmac.compare_digest(_shown(headers.get("authorization", "")), token.encode()):
        return ProblemResponse(401, "give the token: Authorization: Bearer TOKEN, or as the password", ASK)
    return None


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _shown(authorization: str) -> bytes:
    """Return the token that a request shows: after Bearer, or as the password of Basic, which browsers ask for."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""
