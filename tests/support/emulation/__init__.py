"""Emulate the CUDA kernels on a CPU, to test their arithmetic, indices and barriers without a GPU.

`cuda_on_cpu.h` lets g++ compile the .cu files as they are; `emulator.py` builds them and calls a kernel by its name.
"""
