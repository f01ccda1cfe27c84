"""Our own CUDA kernels for training: pictures, the blocks of a network, AdamW. CuPy is imported on first use only."""
