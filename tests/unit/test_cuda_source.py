"""The CUDA source compiles, on any machine with a compiler."""

import shutil
import subprocess
from pathlib import Path

import pytest

import magray.micromagnetics.gpu

FOLDER = Path(magray.micromagnetics.gpu.__file__).parent
NVCC = shutil.which("nvcc")


@pytest.mark.skipif(NVCC is None, reason="no nvcc on this machine")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_the_kernels_compile_without_spilling_registers(architecture: str, tmp_path: Path) -> None:
    command = [
        str(NVCC),
        f"-arch={architecture}",
        "-std=c++17",
        "-Xptxas",
        "-v",
        "-cubin",
        "-o",
        str(tmp_path / "k.cubin"),
    ]
    source = tmp_path / "all.cu"
    source.write_text("".join((FOLDER / name).read_text(encoding="utf-8") for name in ("kernels.cu", "fourier.cu")))
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr
    spills = [line for line in done.stderr.splitlines() if "spill" in line]
    assert spills
    assert all("0 bytes spill stores, 0 bytes spill loads" in line for line in spills)
