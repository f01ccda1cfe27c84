"""A campaign on a cluster that gets its GPUs later, as from an autoscaler. Its nodes only claim to have GPUs."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from magray.store import open_store, verify
from tests.cluster.test_campaign import slow

SCRIPT = """
import os, sys, threading
import pyarrow as pa, pyarrow.parquet as pq, ray
from pathlib import Path
from ray.cluster_utils import Cluster
from magray.runtime.connect import connect
from magray.runtime import resources as devices
from magray.runtime.resources import Devices, choose_devices
from magray.runtime.events import EventLog
from magray.runtime.nodes import nodes_watched
from magray.runtime.ray_internals import few_processes
from magray.campaign.pipeline import blocks_of, committed, gpu_pool, pipeline
from magray.campaign.simulator import FilmSimulator
from magray.errors import UserError
from magray.store import create_store

with few_processes():
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
os.environ["RAY_ADDRESS"] = cluster.address
connect()
devices.GPU_WAIT_SECONDS = 1.0
events = EventLog(Path(sys.argv[3]))
for actors in (None, 2):
    try:
        choose_devices("cupy", actors, 1.0, events)
    except UserError as error:
        print(error)
print(choose_devices("auto", None, 1.0, events))
print(choose_devices("cpu", 3, 1.0, events))

plan = pq.read_table(sys.argv[1])
store = create_store(sys.argv[2], "small", plan)
first_film = plan.append_column("wanted", pa.array([place < 1 for place in range(plan.num_rows)]))
store.commit(FilmSimulator("cpu")(next(blocks_of(first_film, 2))))
simulators = set()

def simulate():
    pool = gpu_pool(actors=2, gpu_share=1.0, block_films=2, slots=2)
    blocks = list(blocks_of(plan.append_column("wanted", store.lacks(plan)), 2))
    with nodes_watched(events):
        for results in committed(pipeline(blocks, store.uri, Devices("cpu", 2, 1.0), pool)):
            simulators.update(results["simulator"].to_pylist())

campaign = threading.Thread(target=simulate)
campaign.start()
with few_processes():
    cluster.add_node(num_cpus=1, num_gpus=1)
    cluster.add_node(num_cpus=1, num_gpus=1)
campaign.join()
print(len(simulators), "simulators")
ray.shutdown()
cluster.shutdown()
"""


def test_a_campaign_waits_for_gpus_begins_with_the_first_and_grows(tmp_path: Path) -> None:
    """The errors for a cluster without GPUs come first, at once and after a wait.

    Each actor has three blocks in flight. A film of the first is there already, and the last has one film.
    """
    plan, store, log = slow(23), tmp_path / "store", tmp_path / "log.jsonl"
    pq.write_table(plan, tmp_path / "plan.parquet")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "plan.parquet"), str(store), str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    at_once, after_waiting, automatic, more, simulators = (
        line for line in done.stdout.splitlines() if "(raylet)" not in line
    )
    assert at_once.startswith("the cluster has no GPU: set simulate.actors to wait for those")
    assert after_waiting.startswith("no GPU has come within 0 min; `ray status` shows")
    assert automatic == "Devices(backend='cpu', actors=1, gpu_share=1.0)"
    assert more == "Devices(backend='cpu', actors=3, gpu_share=1.0)"
    assert simulators == "2 simulators"
    notes = [line["text"] for line in map(json.loads, log.read_text().splitlines()) if line["event"] == "note"]
    assert notes[0] == "0 of 1 GPUs are here: waiting up to 0 min for the autoscaler's"
    assert notes[1] == "3 actors are asked for and 1 have cores now; the others begin when theirs come"
    assert sum("has come" in note for note in notes) == 2
    assert verify(open_store(str(store)), plan).ok
