"""Run a real Ray head for tests: `ray start --head` in processes of its own, on loopback, with a token."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

BIN = Path(sys.executable).parent
START_SECONDS = 120.0


class Head:
    """A running head. `environment`: for a process that joins it."""

    def __init__(self, folder: Path, cpus: int) -> None:
        self.folder, self.mark = folder, f"TESTS_HEAD={secrets.token_hex(8)}"
        gcs, client, dashboard, agent, self.metrics_port = _free_ports(5)
        self.address, self.job_server = f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dashboard}"
        let_in = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16), "RAY_USAGE_STATS_ENABLED": "0"}
        let_in["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # nodes and drivers stay on loopback
        path = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}  # jobs begin with `magray` or `python`
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.environment |= let_in | path
        command = [str(BIN / "ray"), "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--num-cpus={cpus}"]
        command += ["--num-gpus=0", "--dashboard-host=127.0.0.1", "--object-store-memory=150000000"]
        command += [f"--port={gcs}", f"--ray-client-server-port={client}", f"--dashboard-port={dashboard}"]
        command += [f"--dashboard-agent-listen-port={agent}", f"--metrics-export-port={self.metrics_port}"]
        own = dict([self.mark.split("=")]) | {"RAY_metrics_report_interval_ms": "2000", "RAY_worker_niceness": "0"}
        with (folder / "ray-start.log").open("w") as log:
            self.process = subprocess.Popen(
                [*command, f"--temp-dir={folder}"], env=self.environment | own, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._wait_for([dashboard, agent])
        except BaseException:
            self.stop()
            raise

    def _wait_for(self, ports: list[int]) -> None:
        deadline = time.monotonic() + START_SECONDS
        for port in ports:
            while not _listens(port):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no head: {(self.folder / 'ray-start.log').read_text()[-2000:]}")
                time.sleep(0.2)

    def stop(self) -> None:
        """Kill the head's own processes, whatever their parents are by now. `ray stop` would kill other heads'."""
        while found := [int(place.name) for place in Path("/proc").glob("[0-9]*") if self._is_ours(place)]:
            for process in found:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.2)
        self.process.wait()

    def _is_ours(self, process: Path) -> bool:
        try:
            ours = f"\0{self.mark}\0".encode() in b"\0" + (process / "environ").read_bytes()
            return ours and (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:  # it has ended meanwhile, or is none of ours
            return False


@contextmanager
def running_head(cpus: int = 2) -> Iterator[Head]:
    """Run a head while the context lasts. Its folder has a short name, for the paths of sockets must be short."""
    with tempfile.TemporaryDirectory(prefix="head-", ignore_cleanup_errors=True) as folder:
        head = Head(Path(folder), cpus)
        try:
            yield head
        finally:
            head.stop()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [taken.getsockname()[1] for taken in sockets]


def _listens(port: int) -> bool:
    with socket.socket() as door:
        return door.connect_ex(("127.0.0.1", port)) == 0
