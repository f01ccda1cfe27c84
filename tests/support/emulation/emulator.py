"""Build CUDA source with g++ and run its kernels on NumPy arrays, with the calls of CuPy."""

import ctypes
import hashlib
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

HEADER = Path(__file__).parent / "cuda_on_cpu.h"
COMPILER = shutil.which("g++")
OPTIONS = ("-std=c++17", "-Og", "-fPIC", "-w", "-ffp-contract=off", "-U_FORTIFY_SOURCE", "-fvisibility=hidden")
KERNEL = re.compile(r'extern "C" __global__.*?(\w+)\s*\([^()]*\)\s*\{', re.DOTALL)

LAUNCHER = """
float2 all_shared[emulation::DYNAMIC_SHARED / sizeof(float2)];

extern "C" __attribute__((visibility("default")))
int run(const char* name, void** arguments, const unsigned int* grid, unsigned int threads, size_t shared) {{
    gridDim = {{grid[0], grid[1], grid[2]}};
    blockDim = {{threads, 1, 1}};
    emulation::Guard guard(all_shared, shared);
{cases}
    return -1;
}}
"""
RESULTS = {-1: "is not among the kernels", 0: "its threads wait for ever", 1: "it wrote behind its shared memory"}
DONE = 2
STATIC_LIMIT = 48 * 1024  # bytes of shared memory that a launch may ask for without the kernel's leave


class Kernels:
    """The kernels of a source, compiled for this CPU into `folder`: a stand-in for cupy.RawModule."""

    def __init__(self, code: str, options: Sequence[str], folder: Path) -> None:
        self.options = [option for option in options if option.startswith("-D")]
        self.folder = folder
        # one block runs at a time and has all of the launcher's memory
        text = code.replace("extern __shared__", "extern")
        self.names = KERNEL.findall(text)
        cases = (
            f'    if (!strcmp(name, "{n}")) return guard.result(emulation::launch({n}, arguments));' for n in self.names
        )
        source = f'#include "{HEADER}"\n{text}\n' + LAUNCHER.format(cases="\n".join(cases))
        self.kernels: dict[str, Kernel] = {}
        self.code = ctypes.CDLL(str(self._compiled(source, "-shared")))

    def get_function(self, name: str) -> "Kernel":
        if name not in self.names:
            raise KeyError(name)
        return self.kernels.setdefault(name, Kernel(self.code, name))

    def _compiled(self, source: str, *options: str) -> Path:
        command = [str(COMPILER), *OPTIONS, *self.options, *options]
        key = hashlib.sha256("\n".join([*command, source]).encode()).hexdigest()[:16]
        path, output = self.folder / f"{key}.cpp", self.folder / f"{key}.out"
        if not output.exists():
            path.write_text(source, encoding="utf-8")
            subprocess.run([*command, "-o", str(output), str(path)], check=True)
        return output


class Kernel:
    """One kernel: `kernel(grid, block, arguments, shared_mem=bytes)`."""

    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        self.code, self.name = library, name
        self.max_dynamic_shared_size_bytes = STATIC_LIMIT

    def __call__(
        self, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], shared_mem: int = 0
    ) -> None:
        if shared_mem > max(self.max_dynamic_shared_size_bytes, STATIC_LIMIT):
            raise RuntimeError(f"{self.name}: {shared_mem} bytes of shared memory were not asked for")
        values = [np.uint64(a.ctypes.data) if isinstance(a, np.ndarray) else a for a in arguments]
        places = [np.array(value) for value in values]
        pointers = (ctypes.c_void_p * len(places))(*(place.ctypes.data for place in places))
        sizes = (ctypes.c_uint * 3)(*grid, *[1] * (3 - len(grid)))
        threads, shared = ctypes.c_uint(block[0]), ctypes.c_size_t(shared_mem)
        result = self.code.run(self.name.encode(), pointers, sizes, threads, shared)
        if result != DONE:
            raise RuntimeError(f"{self.name}: {RESULTS[result]}")
