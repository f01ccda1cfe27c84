"""The dimensionless numbers that decide a film's picture, and the constants that follow from them.

Scale every length by λ, Ms by µ, Aex by µ²λ², Ku1 by µ² and D by µ²λ: the picture stays the same, cell by cell. With
½ µ0 Ms² as the unit of energy density and the pixel of a view, p, as the unit of length, a film with Keff > 0 has

    Q1 = Keff / (½ µ0 Ms²)   τ = t / p   δ = Δ / p   d = |D| / Dc   s = σw / (µ0 Ms² t) = 2 (δ/τ) (1 − d) Q1

with Keff = Ku1 − ½ µ0 Ms², Δ = √(Aex / Keff), Dc = 4 √(Aex Keff) / π and σw = 4 √(Aex Keff) − π |D|. Q1 is Q − 1, the
quality factor less one. All functions take and return floats or arrays, in SI units.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from magray.units import MU0

Number = Any  # a float, or an array of them


def stray_energy(Ms: Number) -> Number:
    """Return ½ µ0 Ms², the stray-field energy of a saturated thin film, J/m³."""
    return 0.5 * MU0 * Ms**2


def effective_anisotropy(Ms: Number, Ku1: Number) -> Number:
    """Return Keff = Ku1 − ½ µ0 Ms² of a thin film, J/m³."""
    return Ku1 - stray_energy(Ms)


def wall_width(Aex: Number, Keff: Number) -> Number:
    """Return the parameter Δ = √(Aex / Keff) of a wall's profile, m."""
    return np.sqrt(Aex / Keff)


def critical_dmi(Aex: Number, Keff: Number) -> Number:
    """Return Dc = 4 √(Aex Keff) / π, above which a wall costs no energy, J/m²."""
    return 4 * np.sqrt(Aex * Keff) / np.pi


def wall_energy(Aex: Number, Keff: Number, D: Number) -> Number:
    """Return σw = 4 √(Aex Keff) − π |D| of a wall that follows the DMI, J/m²."""
    return 4 * np.sqrt(Aex * Keff) - np.pi * np.abs(D)


def dmi_of_wall_energy(Aex: Number, Keff: Number, energy: Number) -> Number:
    """Return |D| of a film whose walls have the energy σw, J/m². Negative where σw is more than a wall without DMI."""
    return (4 * np.sqrt(Aex * Keff) - energy) / np.pi


def neel_threshold(Ms: Number, thickness: Number) -> Number:
    """Return |D| = 2 µ0 Ms² t ln 2 / π² from which interfacial DMI makes the walls of a thin film Néel walls, J/m².

    Thiaville et al., EPL 100, 57002, 2012.
    """
    return 2 * MU0 * Ms**2 * thickness * np.log(2) / np.pi**2


def profile_narrowing(Q1: Number, t_over_wall_width: Number) -> Number:
    """Return the parameter of a wall's profile between domains over Δ = √(Aex / Keff): 1 in the thinnest films.

    A wall's own stray field is weaker than the −Ms of a thin film where the film is as thick as the wall is wide, so
    that Ku1 squeezes the wall: Keff becomes Ku1 − ½ µ0 Ms² (1 − exp(−x)) / x, x = 0.6 t over the profile's parameter.
    The form is that of a stray field of one wave number, and 0.6 makes it agree within 8 % with stripe theory.
    """
    narrowing = np.ones_like(Q1 * t_over_wall_width)
    for _ in range(50):
        x = 0.6 * t_over_wall_width / narrowing
        narrowing = np.sqrt(Q1 / (Q1 + 1 + np.expm1(-x) / x))
    return narrowing


def stripe_period(wall_width: Number, t_over_wall_width: Number, exponent: Number) -> Number:
    """Return about the period of a film's stripes, in the unit of Δ = `wall_width`. exponent: π s.

    In films that are thick against their walls it is 1.91 t exp(π s) (Kaplan and Gehring, J. Magn. Magn. Mater. 128,
    111, 1993); in thinner ones Δ takes the place of t.
    """
    return np.hypot(5.54 * wall_width, 1.91 * t_over_wall_width * wall_width) * np.exp(exponent)


@dataclass(frozen=True)
class ReducedNumbers:
    """The reduced numbers of one film (floats) or of many (arrays) in a view with pixels of some size."""

    Q1: Number
    tau: Number
    delta: Number
    d: Number

    @classmethod
    def of(cls, Ms: Number, Ku1: Number, Aex: Number, D: Number, thickness: Number, pixel: Number) -> "ReducedNumbers":
        """Return the numbers of films with these constants. NaN where Keff ≤ 0: such a film has no such walls."""
        Keff = effective_anisotropy(Ms, Ku1)
        Keff = np.where(Keff > 0, Keff, np.nan)[()]  # a float again if it was one
        d = np.abs(D) / critical_dmi(Aex, Keff)
        return cls(Keff / stray_energy(Ms), thickness / pixel, wall_width(Aex, Keff) / pixel, d)

    @property
    def s(self) -> Number:
        """The energy of a wall over that of the stray field, σw / (µ0 Ms² t)."""
        return 2 * self.delta / self.tau * (1 - self.d) * self.Q1

    @classmethod
    def from_wall(cls, Q1: Number, tau: Number, delta: Number, s: Number) -> "ReducedNumbers":
        """Return the numbers of films whose walls have the width δ and the energy s. d is negative for too large s."""
        return cls(Q1, tau, delta, 1 - s * tau / (2 * delta * Q1))

    def constants(self, Ms: Number, pixel: Number) -> dict[str, Number]:
        """Return Ms, Ku1, Aex, D and the thickness of films with these numbers, of this Ms and pixel size."""
        Keff = self.Q1 * stray_energy(Ms)
        Aex = Keff * (self.delta * pixel) ** 2
        D = self.d * critical_dmi(Aex, Keff)
        return {"Ms": Ms, "Ku1": Keff + stray_energy(Ms), "Aex": Aex, "D": D, "thickness": self.tau * pixel}
