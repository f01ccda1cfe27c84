"""The CuPy backend: many films at once, each in a slot of its own. CuPy is imported only when a solver is made."""
