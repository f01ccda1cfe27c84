"""The CUDA source compiles, on any machine with a compiler, and keeps its numbers in registers."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import magray.micromagnetics.gpu
from magray.cuda import compiler_options
from magray.micromagnetics.gpu.constants import SCHEME

FOLDER = Path(magray.micromagnetics.gpu.__file__).parent
NVCC = shutil.which("nvcc")
ANY_FILM = ("film.cu", "tensor.cu", "minimizer.cu", "quench.cu", "fourier.cu")
SHORT_FILM = (*ANY_FILM, "columns.cu", "rows.cu")


def test_no_kernel_has_a_constant_of_the_python_code_as_a_number_of_its_own() -> None:
    """All come from there as macros, so that there is one scheme on every backend; each of them is used."""
    text = "".join((FOLDER / name).read_text(encoding="utf-8") for name in SHORT_FILM)
    for name in SCHEME:
        assert not re.search(rf"#define {name}\b", text)
        assert re.search(rf"\b{name}\b", text)


@pytest.mark.skipif(NVCC is None, reason="no nvcc on this machine")
@pytest.mark.parametrize(
    ("architecture", "sources", "definitions"),
    [
        pytest.param("sm_90", ANY_FILM, {}, id="periodic"),
        pytest.param("sm_90", ANY_FILM, {"OPEN_X": 1, "OPEN_Y": 1, "ELLIPSE": 1}, id="ellipse"),
        pytest.param("sm_90", SHORT_FILM, {"NX": 512, "NY": 512}, id="512x512"),
        pytest.param("sm_90", SHORT_FILM, {"NX": 1024, "NY": 64}, id="1024x64"),
        pytest.param("sm_80", SHORT_FILM, {"NX": 512, "NY": 512}, id="512x512 on an older card"),
    ],
)
def test_the_kernels_compile_without_spilling_registers(
    architecture: str, sources: tuple[str, ...], definitions: dict[str, int], tmp_path: Path
) -> None:
    """Spilled registers are memory traffic that nobody counted. Open edges cost a few; they are no large campaigns."""
    source = tmp_path / "all.cu"
    source.write_text("".join((FOLDER / name).read_text(encoding="utf-8") for name in sources))
    options = compiler_options(SCHEME | definitions)
    command = [str(NVCC), f"-arch={architecture}", *options, "-Xptxas", "-v", "-cubin"]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "k.cubin"), str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr
    spills = [line for line in done.stderr.splitlines() if "spill" in line]
    assert spills
    if "OPEN_X" not in definitions:
        assert all("0 bytes spill stores, 0 bytes spill loads" in line for line in spills)
