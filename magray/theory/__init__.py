"""Closed-form and variational theory of domains, beside which a network's answers are shown. NumPy and SciPy only."""

from magray.theory.effective_medium import effective_medium
from magray.theory.patterns import Layer
from magray.theory.rescaling import dmi_of_picture
from magray.theory.stripes import dmi_of_period, stripe_period

__all__ = ["Layer", "dmi_of_period", "dmi_of_picture", "effective_medium", "stripe_period"]
