"""The fit's own CUDA kernels: pictures, and the network's blocks in training. Imports CuPy only to make them."""
