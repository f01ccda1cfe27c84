"""The application: the page and the service `/v1`, on any ASGI server. `magray.serve.service` has Ray Serve."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from importlib.resources import files
from typing import Any, TypeVar

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from magray import __version__
from magray.serve.bodies import FORM, JSON, PICTURE, PICTURES, Body, read_body
from magray.serve.guard import Guard
from magray.serve.problems import AsciiJsonResponse, Problem, answer_problems
from magray.serve.requests import Asked, EstimateRequest, PictureRequest, request_of
from magray.serve.resimulation import Line, resimulation
from magray.serve.uploads import Upload

SECONDS_TO_SEND, SECONDS_TO_ANSWER = 60.0, 60.0
PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    **{
        f"/{name}.js": (f"{name}.js", "text/javascript")
        for name in ("page", "picture", "answer", "report", "server", "dom")
    },
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
PROBLEM = {"description": "A problem (RFC 9457)", "content": {"application/problem+json": {}}}
Done = TypeVar("Done")
RecordOf = Callable[[Asked, Sequence[Upload]], dict[str, Any]]


def make_app(token: str | None, machine: str | None = None, threads: int = 1) -> FastAPI:
    """Return the application. token: what every request has to show; None on loopback alone.

    machine: a name that the applications on one machine share, of which one at a time simulates; None if this is the
    only one. threads: of the requests that are worked on at once, each on one core.
    """
    work = ThreadPoolExecutor(threads, "magray-estimate", initializer=_take_one_core)

    @asynccontextmanager
    async def warm(_: FastAPI) -> AsyncIterator[None]:
        work.submit(_warm_up)
        yield
        work.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(title="magray", version=__version__, docs_url=None, redoc_url=None, lifespan=warm)
    answer_problems(app)
    app.add_middleware(Guard, token=token)
    for path in PAGE:
        app.add_api_route(path, _page, include_in_schema=False)

    async def answered(request: Request, kind: type[Asked], record_of: RecordOf[Asked]) -> AsciiJsonResponse:
        body = await _body(request)

        def work_of() -> dict[str, Any]:
            return record_of(request_of(kind, body.options), body.uploads)

        future = asyncio.get_running_loop().run_in_executor(work, work_of)
        late = "the answer takes too long; crop or shrink the picture"
        return AsciiJsonResponse(await _in_time(future, SECONDS_TO_ANSWER, 504, late))

    @app.post("/v1/estimate", openapi_extra=_described(EstimateRequest), responses=_PROBLEMS)
    async def estimate(request: Request) -> AsciiJsonResponse:
        """Estimate a film's parameters from pictures: the answer of `magray estimate --json`, in SI units."""
        return await answered(request, EstimateRequest, _estimate)

    @app.post("/v1/picture", openapi_extra=_described(PictureRequest), responses=_PROBLEMS)
    async def picture(request: Request) -> AsciiJsonResponse:
        """Show what is read in a picture's file, what is done to it, and what the network sees."""
        return await answered(request, PictureRequest, _picture)

    @app.post("/v1/resimulate", openapi_extra=_described(EstimateRequest), responses=_PROBLEMS | _BUSY)
    async def resimulate(request: Request) -> StreamingResponse:
        """Simulate films of the answer, as `magray estimate --resimulate`, in minutes: two lines of JSON.

        The first has `expected`, a sentence about the time it takes, and the second the `answer` or a `problem`.
        """
        body = await _body(request)
        asked = request_of(EstimateRequest, body.options)
        lines = resimulation(asked, body.uploads, machine or str(os.getpid()))
        first = await anext(lines)
        if "problem" in first:
            await lines.aclose()
            raise Problem(422, first["problem"])
        return StreamingResponse(_as_text(first, lines), media_type="application/x-ndjson")

    app.get("/v1/choices")(_choices)
    app.get("/v1/health")(_health)
    return app


async def _page(request: Request) -> Response:
    name, kind = PAGE[request.url.path]
    return Response(files("magray.serve").joinpath("page", name).read_bytes(), media_type=kind)


async def _choices() -> AsciiJsonResponse:
    """List what a request can choose from: estimators, constants with their units, kinds, and limits."""
    from magray.serve.answers import choices

    return AsciiJsonResponse(await asyncio.to_thread(choices))


async def _health() -> AsciiJsonResponse:
    """Say that the service is up."""
    return AsciiJsonResponse({"status": "ok", "version": __version__})


async def _as_text(first: Line, rest: AsyncGenerator[Line, None]) -> AsyncIterator[str]:
    async with aclosing(rest):
        yield json.dumps(first) + "\n"
        async for line in rest:
            yield json.dumps(line) + "\n"


async def _body(request: Request) -> Body:
    return await _in_time(read_body(request), SECONDS_TO_SEND, 408, "the request came too slowly; send it again")


async def _in_time(awaited: Awaitable[Done], seconds: float, status: int, otherwise: str) -> Done:
    try:
        return await asyncio.wait_for(awaited, seconds)
    except TimeoutError:
        raise Problem(status, otherwise) from None


def _take_one_core() -> None:
    import torch  # takes seconds, which the page does not wait for

    torch.set_num_threads(1)


def _warm_up() -> None:
    from magray.serve.answers import warm_up  # these take seconds to import, which the page does not wait for

    warm_up()


def _estimate(request: EstimateRequest, uploads: Sequence[Upload]) -> dict[str, Any]:
    from magray.serve.answers import estimate_record

    return estimate_record(request, uploads)


def _picture(request: PictureRequest, uploads: Sequence[Upload]) -> dict[str, Any]:
    from magray.serve.answers import picture_record

    return picture_record(request, uploads)


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: PROBLEM | {"description": "The request is damaged."},
    401: PROBLEM | {"description": "The token is missing or wrong."},
    413: PROBLEM | {"description": "The request is too large."},
    415: PROBLEM | {"description": "The request is neither a form nor JSON."},
    422: PROBLEM | {"description": "A picture or an option cannot be used; the detail is what the command says."},
}

_BUSY: dict[int | str, dict[str, Any]] = {
    200: {"description": "Lines of JSON", "content": {"application/x-ndjson": {}}},
    429: PROBLEM | {"description": "Films are being simulated for another request."},
}


def _described(kind: type[PictureRequest]) -> dict[str, Any]:
    """Return OpenAPI's description of a body, as a form and as JSON."""
    schema = kind.model_json_schema()
    data = {"type": "string", "contentEncoding": "base64"}
    one = {"type": "object", "properties": {"name": {"type": "string"}, "data": data}, "required": ["data"]}
    extra = {
        FORM: {PICTURE: {"type": "array", "items": {"type": "string", "contentMediaType": "application/octet-stream"}}},
        JSON: {PICTURES: {"type": "array", "items": one}},
    }
    content = {
        media: {"schema": schema | {"properties": fields | schema["properties"], "required": list(fields)}}
        for media, fields in extra.items()
    }
    return {"requestBody": {"required": True, "content": content}}
