"""Clean the pictures that people have: each step does something only where it finds its fault, and says what it did."""

from magray.imaging.cleaning.clean import STEPS, Cleaned, clean, steps_of

__all__ = ["STEPS", "Cleaned", "clean", "steps_of"]
