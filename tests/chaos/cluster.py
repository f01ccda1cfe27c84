"""Where campaigns meet misfortunes: three nodes and an object store, with a clock and a disk that can fail."""

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
from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]  # compiled
from ray.cluster_utils import Cluster

from magray.films import Minimize, Protocol, plan_table
from tests.support.object_storage import ObjectStorage
from tests.support.s3_faults import FaultyProxy, before
from tests.support.specimens import co_like

CAMPAIGN, FILMS, NODES = "survival", 24, 3
BUCKET = "survival"
HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def slow_plan(films: int = FILMS) -> pa.Table:
    """Films that take a third of a second or so: the torque asked for is out of single precision's reach."""
    endless = Protocol(stages=(Minimize(torque=1e-12, max_evaluations=800),))
    return plan_table([co_like((64, 64), seed=seed, protocol=endless) for seed in range(films)], CAMPAIGN)


class Misfortune:
    """The wrong clock and the full disk of every process of the house; see faults.c."""

    def __init__(self, folder: Path) -> None:
        self.shim, self.file, self.disk = folder / "faults.so", folder / "faults", folder / "disk"
        source = str(HERE / "faults.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(self.shim), source, "-ldl"], check=True)
        self.end()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to meet it."""
        return {
            "LD_PRELOAD": str(self.shim),
            "RAY_LD_PRELOAD_ON_WORKERS": "1",
            "MISFORTUNE": str(self.file),
            "FULL_DISK": str(self.disk),
        }

    def strike(self, clock_seconds: int = 0, disk_full: bool = False) -> None:
        """From now on, in all processes."""
        with self.file.open("r+b" if self.file.exists() else "wb") as shared:
            shared.write(struct.pack("qq", clock_seconds, disk_full))

    def end(self) -> None:
        """The clock is right and the disk has room."""
        self.strike()


@dataclass
class House:
    """Where campaigns run: three nodes of one core, an object store behind a proxy, and somebody who takes notes."""

    folder: Path
    storage: ObjectStorage
    proxy: FaultyProxy
    misfortune: Misfortune
    plan: pa.Table
    environment: dict[str, str]
    pictures: dict[str, bytes] = field(default_factory=dict)  # of an undisturbed campaign, by film id
    cluster: Any = None  # ray.cluster_utils.Cluster, once it is started

    def start(self) -> None:
        """Starts the cluster."""
        self.environment["RAY_AUTH_TOKEN"] = _token()
        with _environment(self.environment):
            AuthenticationTokenLoader.instance().reset_cache()
            self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.add_nodes()
        self.environment["RAY_ADDRESS"] = self.cluster.address
        self.misfortune.disk.mkdir()

    def mend(self) -> None:
        """Three nodes, a server, a clock and a disk for the next round."""
        self.misfortune.end()
        if self.storage.process is None:
            self.storage.start()
        self.add_nodes()

    def add_nodes(self) -> None:
        """Makes them three again. Ray's processes have the environment of the process that starts them."""
        with _environment(self.environment):
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
        return f"WITNESS_NOTES={self.environment['WITNESS_NOTES']}".encode() in (process / "environ").read_bytes()


def _token() -> str:
    """Return the token of this process's local cluster, since a process can show one alone; or a new one."""
    node: Any = ray._private.worker._global_node
    if node is None:
        return secrets.token_hex(32)
    return (Path(node.get_session_dir_path()).parents[1] / "auth_token").read_text(encoding="utf-8")


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Has these values in the environment while the context lasts."""
    saved = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


@contextmanager
def house(folder: Path) -> Iterator[House]:
    """A house that is taken down with the context."""
    storage = ObjectStorage(folder / "object storage")
    misfortune, notes = Misfortune(folder), folder / "notes"
    notes.touch()
    try:
        storage.start()
        storage.filesystem().create_dir(BUCKET)
        with before(storage.endpoint) as proxy:
            environment = storage.environment | misfortune.environment
            environment |= {"AWS_ENDPOINT_URL": proxy.endpoint, "WITNESS_NOTES": str(notes)}
            environment["PYTHONPATH"] = os.pathsep.join([str(HERE / "probe"), str(ROOT)])
            home = House(folder, storage, proxy, misfortune, slow_plan(), environment)
            pq.write_table(home.plan, folder / "plan.parquet")
            with _environment(storage.environment):  # this process speaks to the server itself
                try:
                    home.start()
                    yield home
                finally:
                    if home.cluster is not None:
                        home.cluster.shutdown()
    finally:
        storage.stop()
