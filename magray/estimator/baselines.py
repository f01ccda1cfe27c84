"""Estimate D by theory alone, with an error: the baselines beside the answer for any film.

Stripe theory takes domains for stripes of the picture's period, in the state of least energy. It errs by what the
film's history has done to its domains, and by how well a picture shows their period: in a window of few periods, badly.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from magray.estimator.knowns import Knowledge
from magray.films.reduced import critical_dmi, neel_threshold, stray_energy
from magray.imaging.statistics import domain_statistics
from magray.theory.patterns import Layer
from magray.theory.rescaling import dmi_of_picture
from magray.theory.stripes import dmi_of_period

# Measured on simulated films whose constants were known: see docs/any-film.md.
HISTORY_ERROR = {"minimised": 0.08, "quenched": 0.12, "thermal": 0.10, "demagnetised": 0.08}  # of Dc
PERIOD_ERROR = 0.5  # of a period, over the number of periods along a side of the picture
MOST = 0.5  # of a period, that its error is
DIFFERENT = 2.0  # errors


@dataclass(frozen=True)
class Baselines:
    """|D|, J/m², by stripe theory with its standard error, and by rescaling. NaN where no D fits.

    threshold: |D| below which the walls do not show D; 0 for bulk DMI. period: of the picture's domains, m.
    """

    stripe_theory: float
    error: float
    rescaling: float
    threshold: float
    period: float

    def contradict(self, D: float, error: float) -> bool:
        """Return whether stripe theory and an estimate of |D|, J/m², differ by more than twice their errors."""
        if not math.isfinite(self.stripe_theory):
            return False
        apart = abs(max(D, self.threshold) - max(self.stripe_theory, self.threshold))
        return apart > DIFFERENT * math.hypot(error, self.error)

    def values(self) -> dict[str, float]:
        """Return |D| by the name of each baseline."""
        return {"stripe_theory": self.stripe_theory, "rescaling": self.rescaling}


def baselines(
    views: torch.Tensor, pixel: float, constants: Mapping[str, NDArray[np.float64]], knowledge: Knowledge
) -> Baselines:
    """Return what theory says of a picture's views (k, h, h), pixel in m, with the medians of samples of constants."""
    Ms, Keff, Aex, thickness = (float(np.median(constants[name])) for name in ("Ms", "Keff", "Aex", "thickness"))
    layer = Layer(Ms, Keff + stray_energy(Ms), Aex, thickness, knowledge.dmi or "interfacial")
    period = float(np.median(domain_statistics(views.numpy(), pixel).period))
    return Baselines(
        dmi_of_period(layer, period),
        stripe_error(layer, period, pixel * views.shape[-1], knowledge.history),
        dmi_of_picture(layer, views[0].numpy(), pixel),
        0.0 if knowledge.dmi == "bulk" else neel_threshold(Ms, thickness),
        period,
    )


def stripe_error(layer: Layer, period: float, window: float, history: str | None) -> float:
    """Return the standard error of |D| by stripe theory, J/m²: of the history, and of a period seen in a window (m)."""
    of_history = HISTORY_ERROR[history] if history else max(HISTORY_ERROR.values())
    relative = min(PERIOD_ERROR * period / window, MOST)
    narrow, wide = (dmi_of_period(layer, period * (1 + part)) for part in (-relative, relative))
    # beyond the narrowest and the widest domains that the film can have, D is at its end
    narrow = layer.largest_D if math.isnan(narrow) else narrow
    wide = 0.0 if math.isnan(wide) else wide
    return math.hypot(of_history * float(critical_dmi(layer.Aex, layer.Keff)), (narrow - wide) / 2)
