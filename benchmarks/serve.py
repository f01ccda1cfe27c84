"""Measure `magray serve`: seconds to the first answer, of a warm answer, and answers a second of 128² pictures.

    python -m benchmarks.serve --seconds 20 --at-once 8

The service runs as its users run it, in a process of its own with its own Ray, on the cores of this machine.
"""

import argparse
import io
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from PIL import Image

from magray.environment import cores, processor
from tests.support.http_service import ask, ask_form
from tests.support.stripes import labyrinth

FILM = {"pixel_nm": 4, "Ms": "1.0 ± 0.05 MA/m", "Keff": "0.2 ± 0.02 MJ/m3", "thickness": "2 nm ± 5 %"}
QUESTIONS: dict[str, dict[str, object]] = {"any-film": dict(FILM), "co-like": {"pixel_nm": 8}}
WARM = 11  # answers, of which the median counts
LONGEST_START = 300.0  # seconds


def picture(side: int) -> bytes:
    """Return a labyrinth of this many pixels as a PNG."""
    file = io.BytesIO()
    Image.fromarray(np.uint8(127.5 * (labyrinth(20, side=side) + 1))).save(file, "PNG")
    return file.getvalue()


@contextmanager
def magray_serve(port: int) -> Iterator[str]:
    """Run `magray serve` in a process, and give its URL at once."""
    command = [sys.executable, "-m", "magray", "serve", "--no-browser", "--port", str(port)]
    with subprocess.Popen(command, env=os.environ | {"PYTHONUNBUFFERED": "1"}) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait_for(url: str) -> None:
    """Return when the service answers."""
    end = time.monotonic() + LONGEST_START
    while time.monotonic() < end:
        try:
            if ask(f"{url}/v1/health").status == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("magray serve does not answer")


def answer(url: str, shown: bytes, estimator: str) -> None:
    """Get one answer."""
    found = ask_form(f"{url}/v1/estimate", [("a.png", shown)], estimator=estimator, **QUESTIONS[estimator])
    assert found.status == 200, found.body


def rate(url: str, shown: bytes, estimator: str, seconds: float, at_once: int) -> float:
    """Return answers a second with so many requests at once."""
    end, counts = time.monotonic() + seconds, []

    def client(_: int) -> int:
        count = 0
        while time.monotonic() < end:
            answer(url, shown, estimator)
            count += 1
        return count

    started = time.monotonic()
    with ThreadPoolExecutor(at_once) as clients:
        counts = list(clients.map(client, range(at_once)))
    return sum(counts) / (time.monotonic() - started)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--at-once", type=int, default=8)
    chosen = parser.parse_args()
    small, large = picture(128), picture(512)
    print(f"{cores()} cores, {processor()}, load {os.getloadavg()[0]:.1f}")
    started = time.monotonic()
    with magray_serve(chosen.port) as url:
        wait_for(url)
        print(f"page after {time.monotonic() - started:.1f} s")
        answer(url, large, "any-film")
        print(f"first answer after {time.monotonic() - started:.1f} s")
        for estimator in QUESTIONS:
            answer(url, large, estimator)
            times = []
            for _ in range(WARM):
                before = time.monotonic()
                answer(url, large, estimator)
                times.append(time.monotonic() - before)
            print(f"{estimator}: warm answer {statistics.median(times):.2f} s (512² pixels)")
        for estimator in QUESTIONS:
            answers = rate(url, small, estimator, chosen.seconds, chosen.at_once)
            print(f"{estimator}: {answers:.1f} answers/s of 128² pictures, {chosen.at_once} at once")


if __name__ == "__main__":
    main()
