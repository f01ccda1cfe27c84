"""The energy of up and down domains of any pattern, and the DMI at which a pattern is in equilibrium.

A pattern b(x, y) = ±1 with straight or slowly curving walls of the profile mz = tanh(x/Δ) has the energy density

    e = λ (2 Aex/Δ + 2 Ku1 Δ − π |D| cos φ) + ½ µ0 Ms² Σk |bk|² (g² f + q² (1 − f) cos²ψ)

    f = (1 − exp(−k t)) / (k t)     g = u / sinh u     q = u / cosh u     u = π k Δ / 2

λ: length of walls per area. g² f: charges of mz on both surfaces of the film, which is all of the stray field of Bloch
walls; q² (1 − f): charges in the volume of walls whose moments turn from the wall by an angle with the cosine cos ψ to
its normal, ψ = 0 in a Néel wall. φ is the angle to the moments that the DMI favours: Néel walls if it is interfacial,
so that cos φ = cos ψ, and Bloch walls if it is bulk, which costs no charges. Δ and ψ are those of least energy.

For parallel stripes |bk|² is that of a square wave, and e is the formula of Lemesh, Büttner and Beach, Phys. Rev. B
95, 174423 (2017). A pattern in equilibrium gains no energy when it is stretched and its walls keep their profile:
de/ds = 0.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar

from magray.errors import UserError
from magray.films.film import Dmi
from magray.films.reduced import effective_anisotropy, profile_narrowing, stray_energy, wall_width

Array = NDArray[np.floating]

STEP = 1e-4  # relative, of the stretch whose energy gives de/ds
LARGEST_U = 300.0  # of u: sinh and cosh stay finite, and g and q are 0 long before


@dataclass(frozen=True)
class Layer:
    """The constants of a perpendicular film but for its DMI, of which it has the kind. SI units.

    Raises UserError where Keff ≤ 0, since such a film has no up and down domains.
    """

    Ms: float
    Ku1: float
    Aex: float
    thickness: float
    dmi: Dmi = "interfacial"

    def __post_init__(self) -> None:
        if not self.Keff > 0:
            raise UserError(f"Keff = Ku1 − ½ µ0 Ms² is {self.Keff * 1e-6:.3g} MJ/m³: the film lies in the plane")

    @property
    def Keff(self) -> float:
        """Effective anisotropy Ku1 − ½ µ0 Ms², J/m³."""
        return float(effective_anisotropy(self.Ms, self.Ku1))

    @property
    def largest_D(self) -> float:
        """|D| at which walls cost no energy, J/m²: 4 Aex / π over the parameter of their profile."""
        profile = wall_width(self.Aex, self.Keff)
        profile *= profile_narrowing(self.Keff / stray_energy(self.Ms), self.thickness / profile)
        return float(4 * self.Aex / (math.pi * profile))

    @property
    def widths(self) -> tuple[float, float]:
        """Bounds of Δ, m: between the width without a stray field and with all of it, with some room."""
        return 0.5 * math.sqrt(self.Aex / (self.Ku1 + 2 * stray_energy(self.Ms))), 2 * wall_width(self.Aex, self.Keff)


@dataclass(frozen=True)
class Pattern:
    """The spectrum of a pattern: wave numbers k > 0 (1/m), |bk|² at each, and the length of walls per area (1/m)."""

    k: Array
    power: Array
    walls: float

    def stretched(self, factor: float) -> "Pattern":
        """Return the pattern with all lengths `factor` times as long."""
        return Pattern(self.k / factor, self.power, self.walls / factor)


@dataclass(frozen=True)
class Equilibrium:
    """The walls of least energy in a pattern: Δ (m), cos ψ, and the energy density (J/m³)."""

    width: float
    neel: float
    energy: float


def energy_density(layer: Layer, D: float, pattern: Pattern, width: float, neel: float) -> float:
    """Return the energy density of a pattern whose walls have the parameter `width` and cos ψ = `neel`, J/m³."""
    surface, volume = _stray(layer, pattern, width)
    favoured = neel if layer.dmi == "interfacial" else 1.0
    wall = 2 * layer.Aex / width + 2 * layer.Ku1 * width - math.pi * abs(D) * favoured
    return pattern.walls * wall + surface + volume * neel**2


def equilibrium(layer: Layer, D: float, pattern: Pattern) -> Equilibrium:
    """Return the walls of least energy in a pattern."""

    def at(log_width: float) -> float:
        width = math.exp(log_width)
        return energy_density(layer, D, pattern, width, _neel(layer, D, pattern, width))

    low, high = np.log(layer.widths)
    found: Any = minimize_scalar(at, bounds=(low, high), method="bounded", options={"xatol": 1e-7})
    width = math.exp(found.x)
    return Equilibrium(width, _neel(layer, D, pattern, width), float(found.fun))


def stretching_force(layer: Layer, D: float, pattern: Pattern) -> float:
    """Return de/ds of a pattern when all its lengths are multiplied by s, at s = 1, J/m³. It grows with |D|."""
    walls = equilibrium(layer, D, pattern)
    wider, narrower = (
        energy_density(layer, D, pattern.stretched(1 + step), walls.width, walls.neel) for step in (STEP, -STEP)
    )
    return (wider - narrower) / (2 * STEP)


def dmi_of_pattern(layer: Layer, pattern: Pattern) -> float:
    """Return |D| at which a pattern is in equilibrium, J/m². NaN if it has no walls, too many or too few.

    Domains are at their widest without DMI, and at their narrowest with `largest_D`.
    """
    if layer.dmi == "none":
        raise UserError("a film without DMI has no D to find; give the kind of its DMI, bulk or interfacial")
    if pattern.walls == 0:
        return math.nan
    most = layer.largest_D
    forces = [stretching_force(layer, D, pattern) for D in (0.0, most)]
    if forces[0] > 0 or forces[1] < 0:
        return math.nan
    found: Any = brentq(lambda D: stretching_force(layer, D, pattern), 0.0, most, xtol=1e-6 * most)
    return float(found)


def _stray(layer: Layer, pattern: Pattern, width: float) -> tuple[float, float]:
    """Return the energy density of surface charges, and that of the volume charges of Néel walls, J/m³."""
    u = np.minimum(0.5 * np.pi * pattern.k * width, LARGEST_U)
    x = pattern.k * layer.thickness
    f = -np.expm1(-x) / x
    unit = stray_energy(layer.Ms)
    surface = unit * np.sum(pattern.power * (u / np.sinh(u)) ** 2 * f)
    volume = unit * np.sum(pattern.power * (u / np.cosh(u)) ** 2 * (1 - f))
    return float(surface), float(volume)


def _neel(layer: Layer, D: float, pattern: Pattern, width: float) -> float:
    """Return cos ψ of least energy: interfacial DMI turns walls to Néel walls as far as their charges allow."""
    if layer.dmi != "interfacial" or D == 0:
        return 0.0
    _, volume = _stray(layer, pattern, width)
    return min(1.0, math.pi * abs(D) * pattern.walls / (2 * volume))
