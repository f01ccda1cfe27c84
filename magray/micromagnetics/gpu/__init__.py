"""The CuPy backend: many films at once, each in a slot of a batch. CuPy is imported only with a solver."""
