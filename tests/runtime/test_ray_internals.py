"""Ray still has the internals that magray relies on, with the meaning that it relies on."""

import os
import re
import subprocess
import sys
from pathlib import Path

from ray._private import utils
from ray._private.node import Node

from magray.runtime.ray_internals import few_processes

PACKAGE = Path(__file__).parents[2] / "magray"

ADDRESS = """
from ray._private import services
from magray.runtime.ray_internals import listen_on_loopback

listen_on_loopback()
print(services.get_node_ip_address())
"""

TOKENS = """
import os
from pathlib import Path
from ray._raylet import AuthenticationTokenLoader
from magray.runtime.ray_internals import forget_token

for token in ("1" * 64, "2" * 64):
    Path(os.environ["RAY_AUTH_TOKEN_PATH"]).write_text(token)
    forget_token()
    print(AuthenticationTokenLoader.instance().get_raw_token())
"""


def said(script: str, **environment: str) -> list[str]:
    """Return the output of a process of its own, since Ray keeps both for the life of a process."""
    names = ("RAY_AUTH_TOKEN", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run([sys.executable, "-c", script], env=inherited | environment, capture_output=True, check=True)
    return done.stdout.decode().split()


def test_a_local_ray_listens_on_loopback_alone() -> None:
    assert said(ADDRESS) == ["127.0.0.1"]


def test_a_token_of_another_cluster_is_read_anew(tmp_path: Path) -> None:
    tokens = said(TOKENS, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(tmp_path / "token"))
    assert tokens == ["1" * 64, "2" * 64]


def test_the_processes_that_a_local_ray_does_without_can_be_left_out_for_a_time() -> None:
    """tests/cluster/test_campaign.py has the processes of a Ray that was started so."""
    start = Node.start_monitor
    with few_processes():
        assert Node.start_monitor is not start
        assert utils.get_dashboard_dependency_error() is not None
    assert Node.start_monitor is start


def test_one_module_uses_what_ray_keeps_private() -> None:
    private = re.compile(r"\bray\._\w+")
    users = {path.name for path in PACKAGE.rglob("*.py") if private.search(path.read_text(encoding="utf-8"))}
    assert users == {"ray_internals.py"}
