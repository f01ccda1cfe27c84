"""Films of an answer, simulated on request: by a process of its own, and one request at a time on a machine.

They take minutes, and nothing stops a solver from within. So another process simulates them, which is killed when it
takes too long or the asker goes away; meanwhile the service answers other requests.
"""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from magray.serve.problems import Problem
from magray.serve.requests import EstimateRequest
from magray.serve.uploads import MemoryFiles, Upload, in_memory

COMMAND = (sys.executable, "-m", "magray.serve.resimulate")
SECONDS = 900.0  # that a request may take
Line = dict[str, Any]


async def resimulation(request: EstimateRequest, uploads: Sequence[Upload], machine: str) -> AsyncGenerator[Line, None]:
    """Yield `expected`, a sentence about the time it takes, and then either the `answer` or a `problem`.

    machine: a name that its replicas of the service share. Raises Problem 429 while it simulates for another request.
    """
    with _only_one(machine), in_memory(uploads) as files, _process(request, files) as output:
        end = time.monotonic() + SECONDS
        while True:
            try:
                line = await asyncio.wait_for(asyncio.to_thread(output.readline), end - time.monotonic())
            except TimeoutError:
                yield {"problem": f"it took more than {SECONDS / 60:.0f} minutes; run magray estimate --resimulate"}
                return
            if not line:
                yield {"problem": "the simulation ended without an answer; the log of the service says more"}
                return
            said: Line = json.loads(line)
            yield said
            if "expected" not in said:
                return


@contextmanager
def _only_one(machine: str) -> Iterator[None]:
    """Hold the machine's only place: a name of a socket, which Linux frees when the process ends, however it ends."""
    with socket.socket(socket.AF_UNIX) as place:
        try:
            place.bind(f"\0magray-resimulation-{machine}")
        except OSError:
            busy = "films are being simulated for another request; try again in some minutes"
            raise Problem(429, busy, {"Retry-After": "60"}) from None
        yield


@contextmanager
def _process(request: EstimateRequest, files: MemoryFiles) -> Iterator[IO[str]]:
    """Start the simulation, and kill it at the end. Yields its output; its input stays open as long as it is wanted."""
    told = {
        "options": request.model_dump(exclude_unset=True),
        "paths": [str(path) for path in files.paths],
        "names": files.names,
    }
    descriptors = [int(path.name) for path in files.paths]
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=descriptors, encoding="utf-8"
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(told) + "\n")
            process.stdin.flush()
            yield process.stdout
        finally:
            process.kill()
