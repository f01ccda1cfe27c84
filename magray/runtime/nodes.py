"""Check that all nodes of the cluster see the store, and report nodes that come and go."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from magray.errors import UserError
from magray.runtime.events import EventLog

POLL_SECONDS = 2.0


def check_nodes(store_uri: str) -> None:
    """Raise UserError if another node that may get work does not see the store, before any work is done there.

    This node, from which the driver has the store open, is not asked: that would take a process of Ray's.
    """
    looks = {}
    here = ray.get_runtime_context().get_node_id()
    for node in living():
        if node["NodeID"] != here and node["Resources"].get("CPU", 0) > 0:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            task = ray.remote(_look).options(num_cpus=0, scheduling_strategy=there, max_retries=2)
            looks[_name_of(node)] = task.remote(store_uri)
    for name, look in looks.items():
        try:
            problem = ray.get(look)
        except RayTaskError:
            raise
        except RayError:  # the node went while it was asked: it will get no work either
            continue
        if problem:
            raise UserError(f"node {name} cannot work on the store, which every node must see: {problem}")


def _look(store_uri: str) -> str:
    """Return what is wrong with the store from here; empty if nothing is."""
    from magray.store import open_store

    try:
        open_store(store_uri)
    except UserError as error:
        return str(error)
    return ""


def living() -> list[dict[str, Any]]:
    """Return the cluster's nodes that are alive, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _name_of(node: dict[str, Any]) -> str:
    """Return a node's name for people: its address, and the beginning of its id, for several may share one."""
    return f"{node['NodeManagerAddress']} ({node['NodeID'][:6]})"


@contextlib.contextmanager
def nodes_watched(events: EventLog) -> Iterator[None]:
    """Report nodes that come and go while the context lasts."""
    stop = threading.Event()
    watch = threading.Thread(target=_watch, args=(events, stop), daemon=True)
    watch.start()
    try:
        yield
    finally:
        stop.set()
        watch.join()


def _watch(events: EventLog, stop: threading.Event) -> None:
    known = {node["NodeID"]: _name_of(node) for node in living()}
    while not stop.wait(POLL_SECONDS):
        now = {node["NodeID"]: _name_of(node) for node in living()}
        for gone in known.keys() - now.keys():
            events.notify(f"node {known[gone]} is gone, {len(now)} are left; its films are simulated again")
        for come in now.keys() - known.keys():
            events.notify(f"node {now[come]} has come, {len(now)} are here")
        known = now
