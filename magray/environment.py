"""The machine and the package versions that results come from."""

import os
import platform
from pathlib import Path

from magray._version import __version__

PACKAGES = ("ray", "torch", "numpy", "scipy", "numba", "pyarrow")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect results; "" for one that is not installed."""
    found = {"python": platform.python_version(), "magray": __version__}
    return found | {name: _version(name) for name in PACKAGES}


def processor() -> str:
    """Return the name of the processor, as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str:
    from importlib import metadata  # takes a fifth of the time of `magray --help`

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
