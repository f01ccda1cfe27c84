"""Campaigns into s3://, with a real server and real processes: a bucket gives the same guarantees as a folder."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from typer.testing import CliRunner

from magray.cli.app import app
from magray.config import load_config
from magray.errors import UserError
from magray.films import Minimize, Protocol, plan_table
from magray.films.plan import PLAN_SCHEMA
from magray.imaging import read_picture, write_picture
from magray.store import STORE_SCHEMA, create_store, open_store, verify
from magray.store.location import Location, locate
from magray.store.retry import retry
from tests.support.anywhere import check_store_at
from tests.support.configs import QUICKSTART
from tests.support.object_storage import ObjectStorage, running
from tests.support.s3_faults import Fault, FaultyProxy, before
from tests.support.specimens import co_like
from tests.support.stripes import labyrinth, striped_store

CAMPAIGN = "small"
HANGS = 240  # seconds; what takes longer will never end
CONTENT = bytes(range(256)) * 250_000  # 64 MB, which go up in seven parts

DRIVER = """
import sys, pyarrow.parquet as pq, ray
from magray.runtime.connect import connect
from magray.campaign.run import run_campaign
from magray.config import SimulateConfig
from magray.errors import UserError
connect(num_cpus=2)
print(ray._private.worker._global_node.get_session_dir_path(), flush=True)
try:
    plan, config = pq.read_table(sys.argv[1]), SimulateConfig(block_films=2, actors=1)
    for store in sys.argv[2:]:
        run_campaign(plan, store, config, campaign="small", progress=False)
except UserError as error:
    sys.exit(f"UserError: {error}")
"""

WRITER = """
import sys
from magray.store.location import locate
print("go", flush=True)
locate(sys.argv[1]).write(sys.argv[2], bytes(range(256)) * 250_000)
"""


@pytest.fixture(scope="module")
def object_storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStorage]:
    with running(tmp_path_factory.mktemp("object_storage")) as storage:
        yield storage


@pytest.fixture
def bucket(object_storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URI of a new bucket of the running server; the environment has its credentials."""
    for name, value in object_storage.environment.items():
        monkeypatch.setenv(name, value)
    name = f"films-{uuid.uuid4().hex[:8]}"
    object_storage.filesystem().create_dir(name)
    return f"s3://{name}"


def quick(count: int) -> pa.Table:
    return plan_table([co_like((16, 16), seed=seed) for seed in range(count)], CAMPAIGN)


def slow(count: int) -> pa.Table:
    """Return a plan of films that take about a third of a second: single precision cannot reach their torque."""
    endless = Protocol(stages=(Minimize(torque=1e-12, max_evaluations=800),))
    return plan_table([co_like((64, 64), seed=seed, protocol=endless) for seed in range(count)], CAMPAIGN)


def driver(tmp_path: Path, plan: pa.Table, *stores: str) -> subprocess.Popen[str]:
    """Start a campaign in a process with its own Ray and the environment of this one."""
    pq.write_table(plan, tmp_path / "plan.parquet")
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path / "plan.parquet"), *stores],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def committed(storage: ObjectStorage, bucket: str) -> dict[str, tuple[int, int]]:
    """Return size and time of each file of films in a bucket."""
    everything = fs.FileSelector(bucket.removeprefix("s3://"), recursive=True, allow_not_found=True)
    found = storage.filesystem().get_file_info(everything)
    return {info.path: (info.size, info.mtime_ns) for info in found if info.base_name.startswith("films-")}


def wait_for_commits(files: int, storage: ObjectStorage, bucket: str) -> dict[str, tuple[int, int]]:
    deadline = time.monotonic() + HANGS
    while len(found := committed(storage, bucket)) < files:
        assert time.monotonic() < deadline, "nothing was committed"
        time.sleep(0.02)
    return found


def rows(uri: str) -> pa.Table:
    """Return all rows of a store, with pictures, but without the seconds that they took."""
    store = open_store(uri)
    return store.table([name for name in store.schema.names if name != "seconds"]).sort_by("film_id")


def test_a_campaign_in_a_bucket_is_the_campaign_in_a_folder(tmp_path: Path, bucket: str) -> None:
    """Files, rows and pictures are the same, bit for bit, and the commands for stores work on the bucket."""
    plan, store, folder = quick(10), f"{bucket}/my/films", str(tmp_path / "films")
    done = driver(tmp_path, plan, store, folder)
    said = done.communicate(timeout=HANGS)[1]
    assert (done.returncode, said) == (0, "")
    assert open_store(store).files() == open_store(folder).files()
    assert rows(store).equals(rows(folder))
    ids = plan["film_id"].to_pylist()
    np.testing.assert_array_equal(open_store(store).images(ids), open_store(folder).images(ids))
    assert verify(open_store(store), plan).ok

    def answer(*command: str) -> str:
        result = CliRunner().invoke(app, ["store", *command])
        assert result.exit_code == 0, result.output
        return result.output

    assert answer("ls", store) == answer("ls", folder)
    assert "10 of 10 films are committed" in answer("verify", store, "--plan", str(tmp_path / "plan.parquet"))
    answer("export", store, str(tmp_path / "from bucket"))
    answer("export", folder, str(tmp_path / "from folder"))
    for picture in (tmp_path / "from folder").glob("*.png"):
        assert (tmp_path / "from bucket" / picture.name).read_bytes() == picture.read_bytes()


def upload(storage: ObjectStorage, url: str, content: bytes) -> str:
    with storage.filesystem().open_output_stream(url.removeprefix("s3://")) as stream:
        stream.write(content)
    return url


def test_pictures_and_configs_are_read_from_a_bucket(
    tmp_path: Path, object_storage: ObjectStorage, bucket: str
) -> None:
    write_picture(tmp_path / "film.png", np.rint(127.5 * (1 + labyrinth())).astype(np.uint8))
    picture = upload(object_storage, f"{bucket}/film.png", (tmp_path / "film.png").read_bytes())
    config = upload(object_storage, f"{bucket}/project.yaml", QUICKSTART.read_bytes())

    def answer(*command: str) -> str:
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        return result.output

    there, here = answer("picture", picture), answer("picture", str(tmp_path / "film.png"))
    assert "256 × 256 pixels" in there
    assert there == here
    assert answer("estimate", picture, "--pixel-nm", "4", "--estimator", "co-like").startswith("D = ")
    assert load_config(config) == load_config(QUICKSTART)
    assert "2 films planned" in answer("plan", config, "--set", "campaign.films=2", "--set", f"output={tmp_path}")
    with pytest.raises(UserError, match=r"^s3://.*/absent.tif: no such file$"):
        read_picture(f"{bucket}/absent.tif")
    with pytest.raises(UserError, match=r"^s3://nobodys-bucket/absent.yaml: no such file$"):
        load_config("s3://nobodys-bucket/absent.yaml")


def test_recipes_for_a_bucket_are_right(bucket: str, tmp_path: Path) -> None:
    """Those of docs/analysis.md, for pandas and DuckDB, with the address of this bucket."""
    page = (Path(__file__).parents[2] / "docs" / "analysis.md").read_text(encoding="utf-8")
    recipes = re.findall(r"```python\n(.*?)```", page.partition("## In a bucket")[2].partition("\n## ")[0], re.DOTALL)
    local = striped_store(tmp_path / "films", 6)
    store = create_store(f"{bucket}/films", "stripes", local.table(PLAN_SCHEMA.names))
    for rows in local.batches(STORE_SCHEMA.names):
        store.commit(rows)
    found: dict[str, Any] = {}
    for recipe in recipes:
        exec(recipe.replace("s3://bucket", bucket), found)
    films = local.films().to_pandas()
    assert dict(found["by_split"]) == films["split"].value_counts().to_dict()
    assert found["mean_D"].to_dict() == pytest.approx(films.groupby("split")["D"].mean().to_dict())
    assert found["by_status"] == [("converged", 6)]


def test_a_store_works_through_s3fs_too(bucket: str, tmp_path: Path) -> None:
    """s3a:// is a scheme of fsspec's s3fs and not of pyarrow: it stands for the filesystems that only fsspec has."""
    uri = f"{bucket.replace('s3://', 's3a://')}/films"
    assert isinstance(locate(uri).filesystem, fs.PyFileSystem)
    check_store_at(uri, tmp_path)
    assert open_store(f"{bucket}/films").count() == 6  # pyarrow's own client finds the same
    with pytest.raises(UserError, match="cannot write to s3a://nobodys-bucket/films"):
        create_store("s3a://nobodys-bucket/films", CAMPAIGN, quick(2))


@pytest.fixture
def stranger(tmp_path: Path, object_storage: ObjectStorage) -> Iterator[ObjectStorage]:
    """Start a server that can replace the other, and has none of its users and buckets."""
    stranger = ObjectStorage(tmp_path / "stranger", "another", object_storage.ports)
    yield stranger
    stranger.stop()
    if object_storage.process is None:
        object_storage.start()


def test_credentials_refused_halfway_stop_a_campaign_in_one_line_and_lose_nothing(
    tmp_path: Path, object_storage: ObjectStorage, bucket: str, stranger: ObjectStorage
) -> None:
    plan, store = slow(30), f"{bucket}/films"
    run = driver(tmp_path, plan, store)
    before = wait_for_commits(1, object_storage, bucket)
    object_storage.kill()
    stranger.start()
    said = run.communicate(timeout=HANGS)[1]
    stranger.stop()
    object_storage.start()
    assert run.returncode == 1, said
    assert said.startswith(f"UserError: {store} refuses ")
    (line,) = said.splitlines()
    assert "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in line
    half = verify(open_store(store), plan)
    assert before.items() <= committed(object_storage, bucket).items()
    assert 0 < half.committed < 30, said
    assert half.duplicate == half.truncated == half.foreign == []


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_one_line(bucket: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = quick(2)
    create_store(f"{bucket}/films", CAMPAIGN, plan)
    monkeypatch.setenv(name, "wrong")
    refusal = r"^s3://.* refuses .*check AWS_ACCESS_KEY_ID.*$"
    with pytest.raises(UserError, match=refusal):
        create_store(f"{bucket}/films", CAMPAIGN, plan)
    with pytest.raises(UserError, match=refusal):
        open_store(f"{bucket}/films")


def test_a_bucket_that_does_not_exist_is_one_line(bucket: str) -> None:
    """It is not created: a typing mistake in a bucket's name should cost no money."""
    store = "s3://nobodys-bucket/films"
    absence = r"^s3://nobodys-bucket/films: there is no bucket nobodys-bucket; make it"
    with pytest.raises(UserError, match=absence):
        create_store(store, CAMPAIGN, quick(2))
    with pytest.raises(UserError, match=absence):
        open_store(store)
    with pytest.raises(UserError, match=absence):
        locate(store).write("a", b"b")
    with pytest.raises(UserError, match="there is no store at"):
        open_store(f"{bucket}/films")


def test_an_option_that_pyarrow_does_not_know_is_one_line() -> None:
    with pytest.raises(UserError, match="its options are region, scheme, endpoint_override, not regoin"):
        locate("s3://bucket/films?regoin=eu-central-1&scheme=https")


@pytest.fixture
def proxy(object_storage: ObjectStorage, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Start a proxy in front of the server; the environment has its address."""
    with before(object_storage.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


def test_requests_to_a_busy_server_are_repeated(bucket: str, proxy: FaultyProxy) -> None:
    location = locate(f"{bucket}/files")
    said: dict[Fault, str] = {"InternalError": "INTERNAL_FAILURE", "SlowDown": "SLOW_DOWN"}
    for fault, words in said.items():
        proxy.misbehave(fault, 60)
        with pytest.raises(UserError, match=rf"does not answer, asked 1 time in .*: {words}, .*run again"):
            location.write("busy", b"b")
        proxy.misbehave(fault, 2)
        location.write("busy", b"done", 30)
        assert location.read("busy") == b"done"


def test_a_request_without_an_answer_is_repeated(bucket: str, proxy: FaultyProxy) -> None:
    """By default pyarrow gives up after 100 s."""
    location = locate(f"{bucket}/files")
    proxy.misbehave("silence", 5)
    start = time.monotonic()
    location.write("late", b"done")
    assert 5 < time.monotonic() - start < 30
    assert proxy.victims["silence"] > 0
    assert location.read("late") == b"done"


def test_no_server_is_one_line(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"does not answer, asked 1 time .*127\.0\.0\.1.*check AWS_ENDPOINT_URL"):
        create_store(f"{bucket}/films", CAMPAIGN, quick(2))


def test_only_transient_errors_are_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    silence = OSError("AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 7, Could not connect")
    answers: list[OSError] = [silence, OSError("AWS Error UNKNOWN (HTTP status 503) during PutObject operation: busy")]

    def ask() -> str:
        if answers:
            raise answers.pop(0)
        return "done"

    assert retry("s3://b/x", ask, 10) == "done"
    assert [record.getMessage().split(":")[0] for record in caplog.records] == 2 * ["s3"] + ["s3"]
    assert "answers again after" in caplog.records[-1].getMessage()
    answers.append(OSError("Couldn't deserialize thrift: the file is damaged"))
    with pytest.raises(OSError, match="damaged"):
        retry("s3://b/x", ask, 10)


def whole_or_absent(location: Location, name: str) -> bool:
    """Return whether the file exists. Fail if it is incomplete."""
    try:
        content = location.read(name)
    except FileNotFoundError:
        return False
    assert content == CONTENT
    return True


def test_an_upload_whose_process_is_killed_cannot_be_read(bucket: str) -> None:
    """64 MB take at least half a second in seven parts, and at least one of several kills is in the middle."""
    location, cut = locate(f"{bucket}/files"), 0
    for moment in (0.05, 0.15, 0.3):
        name = f"films-{moment}.parquet"
        writer = subprocess.Popen([sys.executable, "-c", WRITER, location.uri, name], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(moment)
        writer.kill()
        writer.communicate()
        cut += not whole_or_absent(location, name)
    assert cut > 0


def test_ctrl_c_between_opening_and_writing_publishes_no_empty_file(bucket: str) -> None:
    """pyarrow completes an upload when its stream is closed, even by an exception, with the bytes that it has."""
    place = locate(f"{bucket}/files")

    class Opening:
        """The bucket's filesystem, which raises KeyboardInterrupt as soon as a file is open."""

        def open_output_stream(self, path: str) -> pa.NativeFile:
            stream = place.filesystem.open_output_stream(path)
            os.kill(os.getpid(), signal.SIGINT)
            return stream

    names = [f"films-{number}.parquet" for number in range(3)]
    for name in names:
        with pytest.raises(KeyboardInterrupt):
            Location(place.uri, Opening(), place.path).write(name, CONTENT)
    found = [whole_or_absent(place, name) for name in names]
    assert any(found), "all are absent: but a signal only rarely comes while a connection is made, which it ends"


def test_a_server_that_dies_in_an_upload_has_no_half_file(object_storage: ObjectStorage, bucket: str) -> None:
    location = locate(f"{bucket}/files")
    location.write("before", b"kept")
    upload = threading.Thread(target=location.write, args=("films-0.parquet", CONTENT, 60.0))
    upload.start()
    time.sleep(0.15)
    object_storage.kill()
    object_storage.start()
    assert location.read("before") == b"kept"
    whole_or_absent(location, "films-0.parquet")
    upload.join()
    assert whole_or_absent(location, "films-0.parquet")
