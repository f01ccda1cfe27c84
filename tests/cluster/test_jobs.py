"""Stages on a real cluster, with a job server and a token: by `ray job submit`, and by `magray … --address`."""

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from magray.campaign.metrics import METRICS
from magray.errors import UserError
from magray.runtime import jobs as jobs
from magray.runtime.connect import connect
from magray.runtime.jobs import submit_stage
from magray.store import open_store, verify
from tests.support.head import BIN, Head, running_head

ROOT = Path(__file__).parents[2]
CONFIG = "configs/quickstart.yaml"
FILMS = 12
SMALL = [
    f"campaign.films={FILMS}",
    "campaign.cells=[16, 16]",
    "simulate.backend=numpy",
    "simulate.block_films=2",
    "simulate.actors=1",
    "fit.start_from=null",
    "fit.train_scales=['0.0625']",
    "study.test_scales=[0.0625]",
]
ENDLESS = "campaign.protocol.stages=[{minimize: {torque: 1e-12, max_evaluations: 100000}}]"  # minutes a film
TOO_LONG = (
    "campaign.protocol.stages=[{quench: {alpha: 0.5, duration: 1e6 ns}}]"  # more steps than a film may take: it fails
)


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with running_head() as head:
        yield head


def settings(name: str, folder: Path, *more: str) -> list[str]:
    """Return the options `--set …` for a small campaign of this name with its results in the folder."""
    changes = [f"name={name}", f"output={folder / name}", *SMALL, *more]
    return [word for change in changes for word in ("--set", change)]


def start(head: Head, *command: str, **environment: str) -> subprocess.Popen[str]:
    """Start a command in the repository, as a user with the cluster's token."""
    return subprocess.Popen(
        [str(BIN / command[0]), *command[1:]],
        cwd=ROOT,
        env=head.environment | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code and all output."""
    said = process.communicate(timeout=400)[0]  # a job's start takes minutes where other tests keep both cores busy
    return process.returncode, said


def is_complete(folder: Path) -> bool:
    return verify(open_store(str(folder / "store")), pq.read_table(folder / "plan.parquet")).ok


def committed(folder: Path) -> dict[str, int]:
    """Return the time at which each file of films was written."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "store").glob("films-1/*")}


def test_ray_job_submit_does_a_stage(head: Head, tmp_path: Path) -> None:
    """The command is that of the docstring of jobs/simulate.py."""
    submit = ["ray", "job", "submit", "--address", head.job_server, "--submission-id", "simulate-plain"]
    script = ["--working-dir", ".", "--", "python", "-m", "jobs.simulate", CONFIG]
    code, said = end(start(head, *submit, *script, *settings("plain", tmp_path)))
    assert code == 0, said
    assert f"{FILMS} films in " in said
    assert is_complete(tmp_path / "plain")


def test_a_stage_submitted_twice_at_once_is_one_job_which_both_follow(head: Head, tmp_path: Path) -> None:
    command = ["magray", "simulate", CONFIG, "--address", head.job_server, *settings("twice", tmp_path)]
    results = [end(process) for process in [start(head, *command), start(head, *command)]]
    for code, said in results:
        assert code == 0, said
        assert f"films {FILMS} of {FILMS}, " in said
        assert f"{FILMS} films in " in said
    fresh = sorted("simulate-twice submitted: " in said for _, said in results)
    followed = sorted("simulate-twice is already running: " in said for _, said in results)
    assert fresh == followed == [False, True]
    assert is_complete(tmp_path / "twice")

    before = committed(tmp_path / "twice")
    code, said = end(start(head, *command))
    assert code == 0, said
    assert "simulate-twice:2 submitted: " in said
    assert "done before" in said
    assert committed(tmp_path / "twice") == before

    other = [*settings("twice", tmp_path), "--set", "campaign.seed=1", "--set", f"output={tmp_path / 'other'}"]
    other += ["--set", f"simulate.store={tmp_path / 'twice' / 'store'}"]
    code, said = end(start(head, "magray", "simulate", CONFIG, "--address", head.job_server, *other))
    assert code == 2, said
    assert re.search(r"^magray: .* holds another plan.*$", said.splitlines()[-1])  # only the job could find that
    assert "Traceback" not in said


def test_ctrl_c_leaves_the_job_alone_and_says_how_to_stop_it(head: Head, tmp_path: Path) -> None:
    command = ["magray", "simulate", CONFIG, "--address", head.job_server, *settings("long", tmp_path, ENDLESS)]
    follower = start(head, *command)
    assert follower.stdout is not None
    while "Running entrypoint" not in (line := follower.stdout.readline()):
        assert line, "the job did not begin"
    follower.send_signal(signal.SIGINT)
    code, said = end(follower)
    assert code == 130
    assert said.startswith("magray: simulate-long goes on; ")
    ray, *words = said.partition("stop it: ")[2].split()
    assert (ray, words[:3]) == ("ray", ["job", "stop", "simulate-long"])
    again = start(head, *command)
    assert again.stdout is not None
    assert "simulate-long is already running: " in again.stdout.readline()
    assert end(start(head, ray, *words))[0] == 0
    code, said = end(again)
    assert code == 1
    assert "simulate-long stopped" in said


def scraped(head: Head) -> str:
    """Return the page that the node exports for Prometheus."""
    url = f"http://127.0.0.1:{head.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def samples_of(metric: str, text: str) -> list[dict[str, str]]:
    """Return the labels of each sample of a metric."""
    found = re.findall(rf"^{metric}{{(.*)}} ", text, re.MULTILINE)
    return [dict(re.findall(r'(\w+)="([^"]*)"', labels)) for labels in found]


def test_prometheus_finds_what_the_dashboard_asks_for(head: Head, tmp_path: Path) -> None:
    """The metrics of a driver that joins the cluster count as those of a job; failed films are counted, too."""
    join = ["magray", "simulate", CONFIG, "--address", head.address]
    drivers = [
        start(head, *join, *settings("counted", tmp_path, "campaign.films=2")),
        start(head, *join, *settings("failing", tmp_path, "campaign.films=2", TOO_LONG)),
    ]
    for code, said in map(end, drivers):
        assert code == 0, said
    wanted = {f"ray_{name}" for name in METRICS}
    deadline = time.monotonic() + 30
    while missing := {name for name in wanted if not samples_of(name, text := scraped(head))}:
        assert time.monotonic() < deadline, f"{missing} did not come"
        time.sleep(0.5)
    panels = json.loads((ROOT / "cluster/monitoring/grafana-dashboard.json").read_text(encoding="utf-8"))["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"] if "magray" in target["expr"]]
    for query in queries:
        asked = {label for group in re.findall(r"by \(([^)]*)\)", query) for label in re.split(r",\s*", group)}
        for metric, selector in re.findall(r"(ray_magray_\w+){([^}]*)}", query):
            labels = asked | set(re.findall(r"(\w+)[=!]", selector))
            assert labels <= set(samples_of(metric, text)[0]), query
    films = [(labels["campaign"], labels["status"]) for labels in samples_of("ray_magray_films_total", text)]
    assert {("counted", "converged"), ("failing", "failed")} <= set(films)


def test_a_refusal_to_join_is_explained_in_one_line(head: Head, tmp_path: Path) -> None:
    """The processes run at the same time, since each takes long to import Ray. Other addresses: the next test."""
    submit = ["magray", "simulate", CONFIG, *settings("refused", tmp_path), "--address"]
    stranger = {"RAY_AUTH_TOKEN": "0" * 32}
    old = "import ray, sys; ray.__version__ = '2.59.0'; from magray.cli.app import main; main()"
    gpus = [*submit[:3], *settings("refused", tmp_path, "simulate.backend=cupy", "simulate.actors=null"), "--address"]
    refused = {
        "the cluster has no GPU: ": start(head, *gpus, head.address),
        "refuses this machine's token: set RAY_AUTH_MODE=token": start(head, *submit, head.job_server, **stranger),
        "refuses this machine's token: check RAY_AUTH_MODE=token": start(head, *submit, head.address, **stranger),
        f"no Ray job server answers at http://{head.address}: ": start(head, *submit, f"http://{head.address}"),
        "and this machine Ray 2.59.0 on Python": start(head, "python", "-c", old, *submit[1:], head.address),
    }
    for words, process in refused.items():
        code, said = end(process)
        assert (code, said.count("\n")) == (2, 1), said
        assert words in said
    assert not list(tmp_path.rglob("films-*"))


class Elsewhere(BaseHTTPRequestHandler):
    """A web server that has nothing to do with Ray."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>welcome</html>")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """Return the address host:port of such a server."""
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_address_without_a_cluster_is_reported_quickly(
    elsewhere: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ray itself would try for more than two minutes."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(os.environ, "RAY_API_SERVER_ADDRESS", "")
    monkeypatch.setattr(jobs, "CONNECT_SECONDS", 1.0)
    monkeypatch.setattr("magray.runtime.connect.ray.is_initialized", lambda: False)
    began = time.monotonic()
    for address, words in (
        ("127.0.0.1:9", "no Ray cluster answers at 127.0.0.1:9: .*is it running?"),
        (elsewhere, f"{elsewhere} speaks HTTP; if it is a cluster's job server, write http://{elsewhere}"),
        (f"http://{elsewhere}", "is a job server: magray simulate, fit and study take it"),
        ("ray://head:10001", "ray://head:10001 is not an address of a cluster: write http://host:8265"),
        ("the cluster", "the cluster is not an address of a cluster"),
    ):
        with pytest.raises(UserError, match=words):
            connect(address)
    changes = [f"output={tmp_path}", *SMALL]
    for address in (
        "http://127.0.0.1:9",
        f"http://{elsewhere}",
        "http://127.0.0.1:port",
        "http://nowhere.invalid:8265",
    ):
        with pytest.raises(UserError, match=f"^no Ray job server answers at {address}: .+"):
            submit_stage(address, "simulate", Path(CONFIG), changes)
    assert time.monotonic() - began < 30
