"""Run a real S3 server for tests: SeaweedFS in a process of its own, on loopback, with one user."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pyarrow import fs

USER = "physicist"
SERVICES = ("master", "volume", "filer", "s3")
READY_SECONDS = 60.0
READY_BYTES = bytes(6_000_000)  # more than one chunk, as a restarted server may have one volume that takes bytes


class ObjectStorage:
    """An S3 server. Its content lies in a folder and survives `kill` and `start`; so does its address."""

    def __init__(self, folder: Path, secret: str = "only-for-tests", ports: Sequence[int] = ()) -> None:
        self.folder, self.secret = folder, secret
        folder.mkdir(parents=True, exist_ok=True)
        self.ports = ports or _free_ports(2 * len(SERVICES))
        self.endpoint = f"http://127.0.0.1:{self.ports[SERVICES.index('s3')]}"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a user of the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Start the server and wait until it keeps what is written, in new buckets and in those that it has."""
        options = [f"-{name}.port={port}" for name, port in zip(SERVICES, self.ports, strict=False)]
        options += [f"-{name}.port.grpc={port}" for name, port in zip(SERVICES, self.ports[4:], strict=True)]
        options += ["-filer", "-s3", f"-s3.config={self._users()}", "-s3.autoCreateBucket=false", "-s3.iam=false"]
        options += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        options += [f"-dir={self.folder}", "-volume.max=1000", "-volume.preStopSeconds=0"]
        options += ["-master.volumeSizeLimitMB=64", "-master.electionTimeout=1s", "-master.telemetry=false"]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [Path(sys.executable).with_name("weed"), "-logtostderr=true", "server", *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=_without_aws(os.environ) | {"HOME": str(self.folder)},
                start_new_session=True,  # Ctrl-C at the tests' terminal is not for the server
            )
        self._wait()

    def kill(self) -> None:
        """Kill the server as a power cut does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None
        for port in self.ports:  # its parts speak to each other there; never under a server that runs
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()

    def stop(self) -> None:
        """End the server, if it runs."""
        if self.process is not None:
            self.kill()

    def filesystem(self) -> fs.S3FileSystem:
        """Return a client of the server that ignores the environment."""
        return fs.S3FileSystem(
            access_key=USER,
            secret_key=self.secret,
            region="us-east-1",
            endpoint_override=self.endpoint,
            allow_bucket_creation=True,
        )

    def _users(self) -> Path:
        """Write the server's file of users: one, with one secret."""
        keys = [{"accessKey": USER, "secretKey": self.secret}]
        users = {"identities": [{"name": USER, "credentials": keys, "actions": ["Admin", "Read", "Write", "List"]}]}
        file = self.folder / "users.json"
        file.write_text(json.dumps(users))
        return file

    def _wait(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                self._write_everywhere()
                return
            except OSError as error:
                assert self.process is not None
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "server.log").read_text()[-2000:]
                    raise RuntimeError(f"SeaweedFS does not work: {log}") from error
                time.sleep(0.1)

    def _write_everywhere(self) -> None:
        """Write a file into a new bucket, and into each that is there: a bucket has volumes of its own."""
        files = self.filesystem()
        files.create_dir("ready")
        for bucket in files.get_file_info(fs.FileSelector("")):
            with files.open_output_stream(f"{bucket.path}/ready") as stream:
                stream.write(READY_BYTES)
            files.delete_file(f"{bucket.path}/ready")


@contextmanager
def running(folder: Path) -> Iterator[ObjectStorage]:
    """Run a server while the context lasts."""
    storage = ObjectStorage(folder)
    try:
        storage.start()
        yield storage
    finally:
        storage.stop()


def _without_aws(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without AWS variables: the server would let in whoever these name."""
    return {name: value for name, value in environment.items() if not name.startswith("AWS_")}


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
