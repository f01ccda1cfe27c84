"""The private parts of Ray that magray uses, for want of public ones.

tests/runtime/test_ray_internals.py fails when Ray changes them.
"""

import os

from ray._private import ray_constants
from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]  # compiled


def listen_on_loopback() -> None:
    """Have a Ray that is started from now on listen on loopback alone, which it does on macOS and Windows.

    On Linux it listens on every interface even if asked for 127.0.0.1, and no option of ray.init changes that. The
    constant is for this process, which has read the environment already, the variable for those that Ray starts.
    """
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False


def forget_token() -> None:
    """Have this process read its token again, as before it joins another cluster.

    Ray reads it once in a process and offers no way to read it anew.
    """
    AuthenticationTokenLoader.instance().reset_cache()
