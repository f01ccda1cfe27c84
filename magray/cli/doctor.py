"""Checks of this machine's setup: hardware, versions, Ray, object storage. Secrets are never shown."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from magray.environment import cores, processor, versions
from magray.masking import mask

S3_SETTINGS = ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE")
S3_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
ROOMY_GB = 5.0


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report. "missing" limits what `detail` says, and nothing else."""

    topic: str
    state: Literal["found", "missing"]
    detail: str


def examine(folder: Path) -> list[Finding]:
    """Return the findings about this machine. `folder` is where results would go."""
    return [*_machine(folder), *_versions(), *_gpu(), *_ray(), *_s3()]


def _machine(folder: Path) -> Iterator[Finding]:
    yield Finding("CPU", "found", f"{cores()} cores, {processor()}")
    place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free / 1e9
    if free < ROOMY_GB:
        yield Finding("disk", "missing", f"{free:.1f} GB free at {place}; 10,000 films of 512 × 512 need about 3 GB")
    else:
        yield Finding("disk", "found", f"{free:.0f} GB free at {place}")


def _versions() -> Iterator[Finding]:
    found = versions()
    yield Finding("versions", "found", ", ".join(f"{name} {version}" for name, version in found.items() if version))
    for name in (name for name, version in found.items() if not version):
        yield Finding(name, "missing", "not installed; pip install magray brings it")


def _gpu() -> Iterator[Finding]:
    if shutil.which("nvidia-smi") is None and not Path("/proc/driver/nvidia").exists():
        yield Finding("GPU", "missing", "no NVIDIA driver: films run on the CPU, thousands of them take days")
        return
    yield Finding("GPU", "found", "an NVIDIA driver is installed")
    try:
        import cupy

        names = [
            cupy.cuda.runtime.getDeviceProperties(i)["name"].decode() for i in range(cupy.cuda.runtime.getDeviceCount())
        ]
        yield Finding("CuPy", "found", f"{cupy.__version__} with {', '.join(names)}")
    except ImportError:
        yield Finding("CuPy", "missing", "backend cupy needs it: pip install 'magray[cuda12]' or 'magray[cuda13]'")
    except RuntimeError as error:
        yield Finding("CuPy", "missing", f"installed, but it finds no GPU: {error}")


def _ray() -> Iterator[Finding]:
    address = os.environ.get("RAY_ADDRESS")
    yield Finding(
        "Ray", "found", f"cluster at {_masked(address)}" if address else "a local cluster is started when needed"
    )


def _s3() -> Iterator[Finding]:
    settings = [f"{name} {_masked(os.environ[name])}" for name in S3_SETTINGS if os.environ.get(name)]
    secrets = [f"{name} (hidden)" for name in S3_SECRETS if os.environ.get(name)]
    if os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or _has_credentials_at_home():
        secrets.append("a credentials file")
    if settings or secrets:
        yield Finding("S3", "found", ", ".join(settings + secrets))
    else:
        yield Finding("S3", "missing", "no AWS_ settings: stores at s3:// work only through an instance role")


def _has_credentials_at_home() -> bool:
    with contextlib.suppress(OSError, RuntimeError):  # a home that is not ours, or none
        return Path("~/.aws/credentials").expanduser().exists()
    return False


def _masked(address: str) -> str:
    """A setting that is a URL or, without its scheme, begins with what would follow that."""
    return mask(address) if "://" in address else mask(f"//{address}").removeprefix("//")
