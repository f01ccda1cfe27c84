"""A cluster to inject faults into: three nodes and an object store, with a clock and a disk that can fail."""

import os
import secrets
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from ray.cluster_utils import Cluster

from magray.films import Minimize, Protocol, plan_table
from magray.runtime.ray_internals import few_processes, forget_token
from tests.support.object_storage import ObjectStorage
from tests.support.s3_faults import FaultyProxy, before
from tests.support.specimens import co_like

CAMPAIGN, FILMS, NODES = "chaos", 24, 3
BUCKET = "chaos"
HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def slow_plan(films: int = FILMS) -> pa.Table:
    """Films that take a third of a second or so: the torque asked for is out of single precision's reach."""
    endless = Protocol(stages=(Minimize(torque=1e-12, max_evaluations=800),))
    return plan_table([co_like((64, 64), seed=seed, protocol=endless) for seed in range(films)], CAMPAIGN)


class ClockAndDiskFaults:
    """A wrong clock and a full disk for every process of the cluster; see faults.c."""

    def __init__(self, folder: Path) -> None:
        self.shim, self.file, self.disk = folder / "faults.so", folder / "faults", folder / "disk"
        source = str(HERE / "faults.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(self.shim), source, "-ldl"], check=True)
        self.end()

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which a process has these faults."""
        return {
            "LD_PRELOAD": str(self.shim),
            "RAY_LD_PRELOAD_ON_WORKERS": "1",
            "INJECTED_FAULTS": str(self.file),
            "FULL_DISK": str(self.disk),
        }

    def inject(self, clock_seconds: int = 0, disk_full: bool = False) -> None:
        """Set the faults of all processes from now on."""
        with self.file.open("r+b" if self.file.exists() else "wb") as shared:
            shared.write(struct.pack("qq", clock_seconds, disk_full))

    def end(self) -> None:
        """Set the clock right and give the disk room."""
        self.inject()


@dataclass
class ChaosCluster:
    """Three nodes of one core, an object store behind a proxy, and a probe that notes each film simulated."""

    folder: Path
    storage: ObjectStorage
    proxy: FaultyProxy
    faults: ClockAndDiskFaults
    plan: pa.Table
    environment: dict[str, str]
    pictures: dict[str, bytes] = field(default_factory=dict)  # of films that are simulated without Ray, by film id
    cluster: Any = None  # ray.cluster_utils.Cluster, once it is started

    def start(self) -> None:
        """Start the cluster."""
        self.environment["RAY_AUTH_TOKEN"] = _token()
        with _environment(self.environment), few_processes():
            forget_token()
            self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.add_nodes()
        self.environment["RAY_ADDRESS"] = self.cluster.address
        self.faults.disk.mkdir()

    def repair(self) -> None:
        """Repair nodes, server, clock and disk for the next round."""
        self.faults.end()
        if self.storage.process is None:
            self.storage.start()
        self.add_nodes()

    def add_nodes(self) -> None:
        """Have three nodes again. Ray's processes have the environment of the process that starts them."""
        with _environment(self.environment), few_processes():
            while len(self.cluster.worker_nodes) < NODES - 1:
                self.cluster.add_node(num_cpus=1)

    def workers(self, kind: str) -> list[int]:
        """Process ids of Ray's workers whose title, which says what they do, holds a word."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                title = (folder / "cmdline").read_bytes()
                if title.startswith(b"ray::") and kind.encode() in title and self._is_ours(folder):
                    found.append(int(folder.name))
            except OSError:  # it ended meanwhile
                continue
        return found

    def logs(self) -> str:
        """The end of what Ray's workers wrote."""
        folder = Path(self.cluster.head_node.get_session_dir_path()) / "logs"
        files = sorted(folder.glob("worker-*.err"), key=lambda file: file.stat().st_mtime)[-6:]
        return "\n".join(f"--- {file.name}\n{file.read_text()[-1500:]}" for file in files)

    def _is_ours(self, process: Path) -> bool:
        return f"PROBE_NOTES={self.environment['PROBE_NOTES']}".encode() in (process / "environ").read_bytes()


def _token() -> str:
    """Return the token of this process's local cluster, since a process can show one alone; or a new one."""
    node: Any = ray._private.worker._global_node
    if node is None:
        return secrets.token_hex(32)
    return (Path(node.get_session_dir_path()).parents[1] / "auth_token").read_text(encoding="utf-8")


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Have these values in the environment while the context lasts."""
    saved = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


@contextmanager
def chaos_cluster(folder: Path) -> Iterator[ChaosCluster]:
    """A cluster that is shut down with the context."""
    storage = ObjectStorage(folder / "object storage")
    faults, notes = ClockAndDiskFaults(folder), folder / "notes"
    notes.touch()
    try:
        storage.start()
        storage.filesystem().create_dir(BUCKET)
        with before(storage.endpoint) as proxy:
            environment = storage.environment | faults.environment
            environment |= {"AWS_ENDPOINT_URL": proxy.endpoint, "PROBE_NOTES": str(notes)}
            environment["PYTHONPATH"] = os.pathsep.join([str(HERE / "probe"), str(ROOT)])
            chaos = ChaosCluster(folder, storage, proxy, faults, slow_plan(), environment)
            pq.write_table(chaos.plan, folder / "plan.parquet")
            with _environment(storage.environment):  # this process speaks to the server itself
                try:
                    chaos.start()
                    yield chaos
                finally:
                    if chaos.cluster is not None:
                        chaos.cluster.shutdown()
    finally:
        storage.stop()
