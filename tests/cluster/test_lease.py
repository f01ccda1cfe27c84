"""One driver at a time on a store."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from magray.errors import UserError
from magray.films import plan_table
from magray.store import create_store, verify
from magray.store import lease as leases
from magray.store.layout import LEASE_FILE
from magray.store.lease import lease
from magray.store.location import locate
from tests.support.specimens import co_like

HOLD = """
import sys, time
from magray.store.lease import lease
from magray.store.location import locate
with lease(locate(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Start a driver that holds the lease, in a process of its own."""
    driver = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "held\n"
    return driver


def test_a_second_driver_refuses_while_the_first_lives_and_takes_over_when_it_is_dead(tmp_path: Path) -> None:
    first = holder(tmp_path)
    with pytest.raises(UserError, match="another driver is at work on"), lease(locate(str(tmp_path)), print):
        pass
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert (tmp_path / LEASE_FILE).exists()  # it could not tidy up
    start = time.monotonic()
    said: list[str] = []
    with lease(locate(str(tmp_path)), said.append):
        waited = time.monotonic() - start
    assert said == ["the driver before this one is dead; going on from what it left"]
    assert leases.EXPIRY <= waited < leases.EXPIRY + 3
    assert not (tmp_path / LEASE_FILE).exists()


def test_a_driver_that_is_done_leaves_the_store_free_at_once(tmp_path: Path) -> None:
    for _ in range(2):
        start = time.monotonic()
        with lease(locate(str(tmp_path)), print):
            assert time.monotonic() - start < 1


def test_of_two_drivers_that_start_at_once_one_works(tmp_path: Path) -> None:
    """Both find the store free; the one that wrote last has the lease, and the other refuses."""
    script = HOLD.replace("time.sleep(60)", "time.sleep(1)")
    command = [sys.executable, "-c", script, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [driver.communicate(timeout=60) for driver in both]
    held = [out == "held\n" for out, _ in said]
    assert any(held)
    for has, (_, errors) in zip(held, said, strict=True):
        assert has or "another driver is at work on" in errors


@pytest.mark.parametrize("content", [b'{"driv', b"[1]", b"[" * 10**5, b'{"driver": 1}', b"\xff"])
def test_a_lease_is_not_a_foreign_file_and_a_damaged_one_does_not_count(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "EXPIRY", 0.1)
    plan = plan_table([co_like((16, 16))], "small")
    store = create_store(str(tmp_path / "store"), "small", plan)
    (tmp_path / "store" / LEASE_FILE).write_bytes(content)
    assert verify(store, plan).foreign == []
    with lease(store.location, print):
        pass
