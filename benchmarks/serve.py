"""Measure `magray serve`: seconds to the first answer, of a warm answer, and answers a second of 128² pictures.

    python -m benchmarks.serve --seconds 20 --at-once 8

The service runs as its users run it, in a process of its own on the cores of this machine: without Ray, or with
`--host 127.0.0.2` by Ray Serve as for a group.
"""

import argparse
import io
import os
import secrets
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.picture_edits import seen, simulated
from magray import Film
from magray.environment import cores, processor
from tests.support.http_service import ask, form

SIDE, SMALL = 256, 128  # cells of the film whose picture is sent, and of a part of it
WARM = 11  # answers, of which the median counts
LONGEST_START = 300.0  # seconds
TOKEN = secrets.token_hex(16)  # asked for on every address that is not loopback
BEARER = f"Bearer {TOKEN}"


def picture(image: NDArray[np.uint8]) -> bytes:
    """Return a film through a microscope as a PNG."""
    file = io.BytesIO()
    shown = seen(image, np.random.default_rng(0))
    Image.fromarray(np.rint(255 * shown).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def question(film: Film, estimator: str) -> dict[str, object]:
    """Return what is told with a picture whose pixels are the film's cells: constants with errors of 5 %."""
    if estimator != "any-film":
        return {"pixel_nm": 8}
    dx, _, dz = film.cell_size
    constants = {"Ms": f"{film.Ms} A/m", "Keff": f"{film.Keff} J/m3", "thickness": f"{dz} m"}
    return {"pixel_nm": 1e9 * dx, "dmi": film.dmi} | {name: f"{text} ± 5 %" for name, text in constants.items()}


@contextmanager
def magray_serve(host: str, port: int) -> Iterator[str]:
    """Run `magray serve` in a process, and give its URL at once."""
    command = [sys.executable, "-m", "magray", "serve", "--no-browser", "--host", host, "--port", str(port)]
    with subprocess.Popen(command, env=os.environ | {"PYTHONUNBUFFERED": "1", "MAGRAY_SERVE_TOKEN": TOKEN}) as process:
        try:
            yield f"http://{host}:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait_for(url: str) -> None:
    """Return when the service answers."""
    end = time.monotonic() + LONGEST_START
    while time.monotonic() < end:
        try:
            if ask(f"{url}/v1/health", Authorization=BEARER).status == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("magray serve does not answer")


def answer(url: str, shown: bytes, told: dict[str, object], estimator: str) -> str:
    """Return whether one answer is trusted."""
    body, kind = form([("a.png", shown)], told | {"estimator": estimator})
    found = ask(f"{url}/v1/estimate", body, Content_Type=kind, Authorization=BEARER)
    assert found.status == 200, found.body
    return str(found.record["trust"])


def rate(url: str, shown: bytes, told: dict[str, object], estimator: str, seconds: float, at_once: int) -> float:
    """Return answers a second with so many requests at once."""
    end, counts = time.monotonic() + seconds, []

    def client(_: int) -> int:
        count = 0
        while time.monotonic() < end:
            answer(url, shown, told, estimator)
            count += 1
        return count

    started = time.monotonic()
    with ThreadPoolExecutor(at_once) as clients:
        counts = list(clients.map(client, range(at_once)))
    return sum(counts) / (time.monotonic() - started)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--at-once", type=int, default=8)
    chosen = parser.parse_args()
    film, image = next(iter(simulated(1, SIDE, "cpu")))
    small, large = picture(image[:SMALL, :SMALL]), picture(image)
    told = {name: question(film, name) for name in ("any-film", "co-like")}
    print(f"{cores()} cores, {processor()}, load {os.getloadavg()[0]:.1f}")
    started = time.monotonic()
    with magray_serve(chosen.host, chosen.port) as url:
        wait_for(url)
        print(f"page after {time.monotonic() - started:.1f} s")
        answer(url, large, told["any-film"], "any-film")
        print(f"first answer after {time.monotonic() - started:.1f} s")
        for name, known in told.items():
            trust, times = answer(url, large, known, name), []
            for _ in range(WARM):
                before = time.monotonic()
                answer(url, large, known, name)
                times.append(time.monotonic() - before)
            print(f"{name}: warm answer {statistics.median(times):.2f} s ({SIDE}² pixels, {trust})")
        for name, known in told.items():
            answers = rate(url, small, known, name, chosen.seconds, chosen.at_once)
            print(f"{name}: {answers:.1f} answers/s of {SMALL}² pictures, {chosen.at_once} at once")


if __name__ == "__main__":
    main()
