"""Check this machine's setup: hardware, versions, GPU, Ray and S3. Secrets are never shown."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from magray.environment import cores, processor, versions
from magray.masking import mask

_S3_SETTINGS = ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE")
_S3_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_MIN_FREE_GB = 5.0  # less is reported as missing


@dataclass(frozen=True)
class Finding:
    """One line of the report. A missing item limits only what `detail` says."""

    topic: str
    state: Literal["found", "missing"]
    detail: str


def doctor() -> None:
    """Check this machine's setup."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    for finding in examine(Path.cwd()):
        mark = "[green]✓[/green]" if finding.state == "found" else "[yellow]–[/yellow]"
        table.add_row(mark, f"[bold]{finding.topic}[/bold]", escape(finding.detail))
    Console().print(table)


def examine(folder: Path) -> list[Finding]:
    """Return all findings. folder: where results would go."""
    return [*_machine(folder), *_versions(), *_gpu(), *_ray(), *_s3()]


def _machine(folder: Path) -> Iterator[Finding]:
    yield Finding("CPU", "found", f"{cores()} cores, {processor()}")
    place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free / 1e9
    if free < _MIN_FREE_GB:
        yield Finding("disk", "missing", f"{free:.1f} GB free at {place}; 10,000 films of 512 × 512 need about 3 GB")
    else:
        yield Finding("disk", "found", f"{free:.0f} GB free at {place}")


def _versions() -> Iterator[Finding]:
    found = versions()
    yield Finding("versions", "found", ", ".join(f"{name} {version}" for name, version in found.items() if version))
    for name in (name for name, version in found.items() if not version):
        yield Finding(name, "missing", "not installed; pip install magray installs it")


def _gpu() -> Iterator[Finding]:
    if shutil.which("nvidia-smi") is None and not Path("/proc/driver/nvidia").exists():
        yield Finding("GPU", "missing", "no NVIDIA driver: films run on the CPU, where thousands of them take days")
        return
    yield Finding("GPU", "found", "an NVIDIA driver is installed")
    try:
        import cupy

        names = [
            cupy.cuda.runtime.getDeviceProperties(i)["name"].decode() for i in range(cupy.cuda.runtime.getDeviceCount())
        ]
        yield Finding("CuPy", "found", f"{cupy.__version__} with {', '.join(names)}")
    except ImportError:
        yield Finding(
            "CuPy",
            "missing",
            "backend cupy needs it: pip install 'magray[cuda13]' or 'magray[cuda12]'",
        )
    except RuntimeError as error:
        yield Finding("CuPy", "missing", f"installed, but finds no GPU: {error}")


def _ray() -> Iterator[Finding]:
    address = os.environ.get("RAY_ADDRESS")
    yield Finding("Ray", "found", f"cluster at {_masked(address)}" if address else "a local cluster starts when needed")


def _s3() -> Iterator[Finding]:
    settings = [f"{name} {_masked(os.environ[name])}" for name in _S3_SETTINGS if os.environ.get(name)]
    secrets = [f"{name} (hidden)" for name in _S3_SECRETS if os.environ.get(name)]
    if os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or _has_credentials_at_home():
        secrets.append("a credentials file")
    if settings or secrets:
        yield Finding("S3", "found", ", ".join(settings + secrets))
    else:
        yield Finding("S3", "missing", "no AWS_ settings: stores at s3:// need an instance role")


def _has_credentials_at_home() -> bool:
    with contextlib.suppress(OSError, RuntimeError):  # a home folder that may not be read, or none
        return Path("~/.aws/credentials").expanduser().exists()
    return False


def _masked(address: str) -> str:
    """Return a URL, or one without its scheme, with its credentials hidden."""
    return mask(address) if "://" in address else mask(f"//{address}").removeprefix("//")
