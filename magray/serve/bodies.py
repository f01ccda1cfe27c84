"""Read the bodies of requests: pictures and options, as a form (multipart/form-data) or as JSON, within limits."""

import base64
import binascii
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from magray.errors import shortened
from magray.serve.problems import Problem
from magray.serve.requests import MAX_BYTES, MAX_PICTURES
from magray.serve.uploads import Upload

FORM, JSON = "multipart/form-data", "application/json"
PICTURE, PICTURES = "picture", "pictures"  # fields of a form, and the key of a JSON object
MAX_OPTIONS = 64
MAX_OPTION_BYTES = 4096
TOO_LARGE = f"the request is larger than {MAX_BYTES // 2**20} MB; crop or shrink the pictures, or send fewer at once"


@dataclass(frozen=True)
class Body:
    """The pictures and the options of a request, which nobody has checked."""

    uploads: tuple[Upload, ...]
    options: dict[str, Any]


async def read_body(request: Request) -> Body:
    """Return the pictures and options of a request.

    Raises Problem: 400 for a body that is damaged, 413 for one that is too large, 415 for another type.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM:
        return await _form(request)
    if kind == JSON:
        return _from_json(b"".join([chunk async for chunk in _limited(request)]))
    raise Problem(415, f"the type of the request is {shortened(kind)}; send {FORM} or {JSON}")


async def _limited(request: Request) -> AsyncGenerator[bytes, None]:
    """Yield a body. Raises Problem before more than MAX_BYTES of it are held."""
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > MAX_BYTES):
        raise Problem(413, TOO_LARGE)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BYTES:
            raise Problem(413, TOO_LARGE)
        yield chunk


class _InMemory(MultiPartParser):
    """A parser of forms that never moves a file to the disk."""

    spool_max_size = 2 * MAX_BYTES


async def _form(request: Request) -> Body:
    parser = _InMemory(
        request.headers,
        _limited(request),
        max_files=MAX_PICTURES,
        max_fields=MAX_OPTIONS,
        max_part_size=MAX_OPTION_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Problem(400, f"the form cannot be read: {error.message.rstrip('.')}") from None
    uploads: list[Upload] = []
    options: dict[str, Any] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != PICTURE:
                raise Problem(422, f"{shortened(name)} is a file; a picture is sent in the field {PICTURE}")
            uploads.append(Upload(value.filename or "", await value.read()))
            await value.close()
        elif name in options:
            raise Problem(422, f"{shortened(name)} is given twice")
        else:
            options[name] = value
    return Body(tuple(uploads), options)


def _from_json(body: bytes) -> Body:
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, "the request is not JSON") from None
    if not isinstance(record, dict):
        raise Problem(400, f"the request is no JSON object; write for example {_EXAMPLE}")
    pictures = record.pop(PICTURES, [])
    if not isinstance(pictures, list) or len(pictures) > MAX_PICTURES:
        raise Problem(422, f"{PICTURES}: give a list of at most {MAX_PICTURES}, as in {_EXAMPLE}")
    return Body(tuple(map(_picture, pictures)), record)


_EXAMPLE = '{"pictures": [{"name": "a.png", "data": "<base64>"}], "pixel_nm": 8}'


def _picture(given: object) -> Upload:
    if not isinstance(given, Mapping) or not isinstance(given.get("data"), str) or set(given) - {"name", "data"}:
        raise Problem(422, f"{PICTURES}: each has data, in base64, and perhaps a name, as in {_EXAMPLE}")
    if not isinstance(name := given.get("name", ""), str):
        raise Problem(422, f"{PICTURES}: a name is a text")
    try:
        return Upload(name, base64.b64decode(given["data"], validate=True))
    except (binascii.Error, ValueError):
        raise Problem(400, f"{PICTURES}: the data of {shortened(name or 'a picture')} is not base64") from None
