"""The process that simulates films of an answer for the service: a request on stdin, lines of JSON on stdout."""

import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

from magray.errors import UserError
from magray.serve.answers import resimulated_record
from magray.serve.requests import EstimateRequest
from magray.serve.uploads import MemoryFiles

NICENESS = 5  # the service's own answers come first


class _Expected(logging.Handler):
    """Say what the simulation logs before it begins: how long it takes."""

    def emit(self, record: logging.LogRecord) -> None:
        _say(expected=record.getMessage())


def main() -> None:
    """Answer one request, and end when nobody wants the answer any more."""
    os.nice(NICENESS)
    told = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_service, daemon=True).start()
    log = logging.getLogger("magray.estimator.resimulation")
    log.addHandler(_Expected())
    log.propagate = False
    request = EstimateRequest.model_validate(told["options"])
    files = MemoryFiles(tuple(map(Path, told["paths"])), tuple(told["names"]))
    try:
        _say(answer=resimulated_record(request, files))
    except UserError as error:
        _say(problem=" ".join(str(error).split()))


def _say(**line: Any) -> None:
    print(json.dumps(line, allow_nan=False), flush=True)


def _end_with_service() -> None:
    sys.stdin.read()  # returns when the service closes it or is gone
    os._exit(1)


if __name__ == "__main__":
    main()
