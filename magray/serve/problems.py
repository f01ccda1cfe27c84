"""Errors as HTTP has them: application/problem+json (RFC 9457), with the sentences of the command line."""

import json
from http import HTTPStatus

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from magray.errors import UserError, in_words


class Problem(Exception):
    """An error of a request: the status of HTTP, and one line that says what to do."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


class AsciiJsonResponse(JSONResponse):
    """JSON in ASCII, which holds every text that a request can bring, also halves of characters."""

    def render(self, content: object) -> bytes:
        """Return the bytes of a record. Raises ValueError for numbers that JSON lacks."""
        return json.dumps(content, allow_nan=False).encode()


class ProblemResponse(AsciiJsonResponse):
    """A problem as JSON: type, title, status, detail."""

    media_type = "application/problem+json"

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        record = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
        super().__init__(record, status, headers)


def answer_problems(app: FastAPI) -> None:
    """Have an application answer every error as a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(OSError, _system_error)
    app.add_exception_handler(MemoryError, _no_memory)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unexpected)


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return ProblemResponse(error.status, error.detail, error.headers)


async def _user_error(_: Request, error: Exception) -> Response:
    return ProblemResponse(422, " ".join(str(error).split()))


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers) if error.headers else None
    return ProblemResponse(error.status_code, error.detail.lower(), headers)


async def _system_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    return ProblemResponse(503, in_words(error))


async def _no_memory(_: Request, __: Exception) -> Response:
    return ProblemResponse(503, "the server has not enough memory for it now; send a smaller picture")


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _unexpected(_: Request, __: Exception) -> Response:
    return ProblemResponse(500, "an error of magray itself; its log says more")
