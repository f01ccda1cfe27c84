"""Send hostile uploads to the HTTP service: wrong types, bombs, endless streams, bad JSON, path names, HTML.

    python -m tests.fuzz.uploads --requests 10000 --seed 1

Every answer must be the page's own JSON with a status below 500; memory must stay flat, no file may be left open or
written. Of those for /v1/resimulate, each that reaches the simulation has a process of its own, which must say what is
wrong, and be gone with its answer. The same seed repeats the same requests.
"""

import argparse
import base64
import ctypes
import io
import json
import os
import random
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from magray.serve.requests import EstimateRequest
from tests.support.http_service import Answer, ask, form, served
from tests.support.microscope_files import gsf, sxm
from tests.support.stripes import stripes

Request = tuple[bytes | Iterator[bytes], str]  # the body and its type
HTML = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
TEXTS = (
    *(
        HTML,
        "../../../../etc/passwd",
        "C:\\windows\\win.ini",
        "/dev/zero",
        "a\0b",
        "\ud800",
        "🧲" * 500,
        "",
        " ",
        "%00",
    ),
    *("-1", "1e999", "nan", "١", "1" * 5000, "null", "0,0,-1,-1", "9" * 300, "1 ± ± 1 MA/m", "1..0 MA/m", "{{7*7}}"),
)
OPTIONS = tuple(EstimateRequest.model_fields)
PATHS = ("/v1/estimate", "/v1/resimulate", "/v1/picture")  # in turn; their number and that of the kinds share no factor
GROWTH = 1.10  # of memory, from a tenth of the requests to the end
STREAM = 65  # MB: more than the service takes


def grey_picture() -> NDArray[np.uint8]:
    """Return stripes as 8-bit grey values."""
    return np.asarray(127.5 * (stripes(6, 0.5, 1, 128) + 1), np.uint8)


def specimens() -> list[bytes]:
    """Return small files that can be read, to be damaged."""
    grey = grey_picture()
    files = [io.BytesIO() for _ in range(4)]
    for file, kind in zip(files, ("PNG", "GIF", "BMP"), strict=False):
        Image.fromarray(grey).save(file, kind)
    tifffile.imwrite(files[3], grey, imagej=True)
    return [*(file.getvalue() for file in files), gsf(), sxm()]


def bomb(chance: random.Random) -> bytes:
    """Return a small PNG that claims, and decompresses to, very many pixels."""
    side = chance.choice((5000, 30000, 2**31 - 1))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(min(side, 5000) * 1000), 9)
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*one) for one in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def damaged(chance: random.Random, files: list[bytes]) -> bytes:
    """Return a file with some bytes changed, cut off or doubled."""
    data = bytearray(chance.choice(files))
    for _ in range(chance.randint(1, 20)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data[: chance.randrange(1, 2 * len(data))])


def hostile_requests(seed: int, count: int) -> Iterator[Request]:
    """Yield requests, of every kind in turn."""
    chance, files = random.Random(seed), specimens()

    def options() -> dict[str, object]:
        names = chance.sample(OPTIONS, chance.randint(0, 4)) + chance.sample(TEXTS, chance.randint(0, 1))
        told = {name: chance.choice(TEXTS).encode(errors="replace").decode() for name in names if name.isprintable()}
        return {**chance.choice(({}, {"pixel_nm": "4"})), **told}  # with which the picture is read

    def any_picture() -> bytes:
        return chance.choice((damaged(chance, files), bomb(chance), b"", HTML.encode(), files[0]))

    def a_form() -> Request:
        name = chance.choice(TEXTS).encode(errors="replace").decode().replace('"', "%22")
        return form([(name, any_picture()) for _ in range(chance.randint(0, 3))], options())

    def a_broken_form() -> Request:
        body, kind = form([("a.png", files[0])], options())
        return chance.choice(
            [
                (body[: chance.randrange(len(body))], kind),
                (body, "multipart/form-data"),
                (body.replace(b"\r\n", b"\n"), kind),
                form([("a", b"")] * 40, {}),
                (body.replace(b"Content-Disposition", b"X" * 10000), kind),
                (body, kind + "0"),
                form([], {"x" * 100000: "1"}),
            ]
        )

    def json_of_wrong_things() -> Request:
        data: Any = chance.choice([base64.b64encode(any_picture()).decode(), "***", None, 3, chance.choice(TEXTS)])
        values: list[object] = [*TEXTS, None, True, [], {}, -1, 1e308, 10**300]
        told = {name: chance.choice(values) for name in chance.sample(OPTIONS, 3)}
        pictures: Any = chance.choice([[{"name": chance.choice(TEXTS), "data": data}], [data], data, {}])
        return json.dumps({"pictures": pictures, **told}).encode(), "application/json"

    def no_json() -> Request:
        bodies = (b"[" * 100000, b"{", b'{"a":' * 5000, b"\xff\xfe", b"nan", b"1" * 10000, b"[]", b'"a"', b"")
        return chance.choice(bodies), "application/json"

    def of_another_type() -> Request:
        return chance.randbytes(100), chance.choice(("text/html", "application/xml", "a" * 1000, "", "multipart/mixed"))

    kinds: list[Callable[[], Request]] = [a_form, a_broken_form, json_of_wrong_things, no_json, of_another_type]
    for number in range(count):
        yield endless() if number % 200 == 150 else kinds[number % len(kinds)]()


def endless() -> Request:
    """Return a body of unknown length that is sent until somebody hangs up."""
    return (bytes(2**20) for _ in range(STREAM)), "application/json"


def faults(url: str, seed: int, count: int) -> Iterator[str]:
    """Yield what is wrong with the answers of a service in this process, a line each."""
    memory, opened, before = 0, 0, _temporary_files()
    for number, (body, kind) in enumerate(hostile_requests(seed, count)):
        path = PATHS[number % len(PATHS)]
        try:
            found = ask(f"{url}{path}", body, Content_Type=kind)
        except (OSError, HTTPException):  # it has hung up on a stream, as it should
            if isinstance(body, bytes):
                yield f"request {number} of seed {seed}: no answer"
            continue
        if wrong := _wrong(found):
            yield f"request {number} of seed {seed}: {wrong}"
        if number == count // 10:
            memory, opened = _memory(), _open_files()
    if _memory() > GROWTH * memory:
        yield f"memory grew from {memory / 2**20:.0f} to {_memory() / 2**20:.0f} MB"
    if _open_files() > opened + 2:
        yield f"{_open_files() - opened} files are still open"
    if left := _temporary_files() - before:
        yield f"files were left: {', '.join(sorted(left))}"


def _wrong(found: Answer) -> str | None:
    """Return what no answer may be. Nobody else asks, so that no request finds films being simulated for another."""
    if found.status >= 500 or found.status == 429:
        return f"status {found.status}: {found.body[:200]!r}"
    if found.kind not in ("application/json", "application/problem+json", "application/x-ndjson"):
        return f"an answer of the type {found.kind}"
    last = json.loads(found.body.splitlines()[-1])
    record = last.get("answer", last)
    said = str(record.get("detail", record.get("problem", "")))
    if "ended without an answer" in said:
        return said
    return None if {"detail", "problem", "trust", "read"} & set(record) else str(record)


def _memory() -> int:
    """Return the bytes of memory of this process, without what the allocator of glibc keeps for the next stream."""
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - it changes while it is read


def _temporary_files() -> set[str]:
    return {str(path) for path in Path(tempfile.gettempdir()).glob("tmp*")}


def main() -> None:
    """Send requests, print what is wrong, and exit with 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with served() as url:
        found = list(faults(url, chosen.seed, chosen.requests))
    print("\n".join([*found, f"{chosen.requests} requests, {len(found)} faults"]))
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
