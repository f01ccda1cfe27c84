"""The CUDA source compiles, on any machine with a compiler, and keeps its numbers in registers."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import magray.micromagnetics.gpu
from magray.micromagnetics import backend as backend
from magray.micromagnetics import demag_tensor, minimizer
from magray.micromagnetics import llg as quench

FOLDER = Path(magray.micromagnetics.gpu.__file__).parent
NVCC = shutil.which("nvcc")
ANY_FILM = ("film.cu", "tensor.cu", "minimizer.cu", "quench.cu", "fourier.cu")
SHORT_FILM = (*ANY_FILM, "columns.cu", "rows.cu")


def test_the_kernels_use_the_constants_of_the_python_code() -> None:
    """One scheme on every backend; the kernels have them as macros, which loops are unrolled by."""
    text = "".join((FOLDER / name).read_text(encoding="utf-8") for name in SHORT_FILM)
    macros = dict(re.findall(r"#define (\w+) +([\d.e-]+)f? *(?://.*)?$", text, re.MULTILINE))
    constants = {
        "HISTORY": backend.HISTORY,
        "MAX_ROTATION": minimizer.MAX_ROTATION,
        "NONMONOTONE_WINDOW": minimizer.NONMONOTONE_WINDOW,
        "OVERSTEPS": minimizer.OVERSTEPS,
        "ENERGY_NOISE": minimizer.ENERGY_NOISE,
        "MIN_CURVATURE": minimizer.MIN_CURVATURE,
        "MAX_INNER_STEPS": quench.MAX_INNER_STEPS,
        "NEAR": demag_tensor.NEAR,
        "SMOOTH": demag_tensor.SMOOTH,
    }
    assert {name: float(macros[name]) for name in constants} == constants


@pytest.mark.skipif(NVCC is None, reason="no nvcc on this machine")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize(
    ("sources", "definitions"),
    [
        pytest.param(ANY_FILM, {}, id="periodic"),
        pytest.param(ANY_FILM, {"OPEN_X": 1, "OPEN_Y": 1, "ELLIPSE": 1}, id="ellipse"),
        pytest.param(SHORT_FILM, {"NX": 512, "NY": 512}, id="512x512"),
        pytest.param(SHORT_FILM, {"NX": 1024, "NY": 64}, id="1024x64"),
    ],
)
def test_the_kernels_compile_without_spilling_registers(
    architecture: str, sources: tuple[str, ...], definitions: dict[str, int], tmp_path: Path
) -> None:
    """Spilled registers are memory traffic that nobody counted. Open edges cost a few; they are no large campaigns."""
    source = tmp_path / "all.cu"
    source.write_text("".join((FOLDER / name).read_text(encoding="utf-8") for name in sources))
    defined = [f"-D{name}={value}" for name, value in definitions.items()]
    command = [str(NVCC), f"-arch={architecture}", "-std=c++17", "-Xptxas", "-v", "-cubin", *defined]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "k.cubin"), str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr
    spills = [line for line in done.stderr.splitlines() if "spill" in line]
    assert spills
    if "OPEN_X" not in definitions:
        assert all("0 bytes spill stores, 0 bytes spill loads" in line for line in spills)
