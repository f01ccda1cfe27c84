"""Rescaling: D from pictures whose patterns are in equilibrium, and how far off it is where they are not."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from magray.films import Film, Minimize, Protocol
from magray.films.film import Dmi
from magray.films.reduced import ReducedNumbers
from magray.micromagnetics import relax
from magray.theory import Layer, dmi_of_period, dmi_of_picture, stripe_period
from magray.theory.rescaling import picture_pattern

PIXEL = 4e-9


def film(d: float, dmi: Dmi) -> tuple[Layer, float, float]:
    """Return a film that is twice as thick as its walls are wide, its D and its critical D."""
    numbers = ReducedNumbers(Q1=0.4, tau=24e-9, delta=12e-9, d=d)
    constants = numbers.constants(Ms=1e6, pixel=1.0)
    D = constants.pop("D")
    return Layer(**constants, dmi=dmi), D, D / d


def drawn(period: float, angle: float = 0.0, side: int = 128) -> NDArray[np.float64]:
    """Return mz of stripes with a period in pixels."""
    y, x = np.mgrid[:side, :side]
    return np.asarray(np.tanh(period / 12 * np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + 1)))


def test_the_length_of_walls_is_that_of_the_drawn_ones_in_any_direction() -> None:
    for angle in np.radians([0, 20, 45, 70]):
        assert picture_pattern(drawn(16.0, angle), PIXEL).walls == pytest.approx(2 / 16.0 / PIXEL, rel=0.03)


@pytest.mark.parametrize("dmi", ["bulk", "interfacial"])
def test_parallel_stripes_give_the_dmi_of_stripe_theory(dmi: Dmi) -> None:
    layer, _, critical = film(0.6, dmi)
    picture = drawn(128 / 3)
    theory = dmi_of_period(layer, 128 / 3 * PIXEL)
    assert dmi_of_picture(layer, picture, PIXEL, periodic=True) == pytest.approx(theory, abs=0.02 * critical)


@pytest.mark.parametrize(("dmi", "d"), [("bulk", 0.5), ("interfacial", 0.7)])
def test_a_picture_of_stripes_in_any_direction_gives_their_dmi(dmi: Dmi, d: float) -> None:
    """The window that hides a picture's edges costs accuracy: it holds three periods."""
    layer, D, critical = film(d, dmi)
    for angle in (0.3, 1.0):
        found = dmi_of_picture(layer, drawn(stripe_period(layer, D) / PIXEL, angle), PIXEL)
        assert found == pytest.approx(D, abs=0.12 * critical)


def test_a_relaxed_labyrinth_gives_too_much_dmi() -> None:
    """Its walls cannot move apart without breaking, so its domains stay narrower than those of least energy."""
    numbers = ReducedNumbers(Q1=0.2, tau=12e-9, delta=12e-9, d=0.5)
    made = numbers.constants(Ms=1e6, pixel=1.0)
    thickness = made.pop("thickness")
    end = Protocol(stages=(Minimize(3e-3, 1000),))
    specimen = Film((64, 64), (PIXEL, PIXEL, thickness), dmi="bulk", seed=3, protocol=end, **made)
    (relaxed,) = relax([specimen], "cpu")
    layer = Layer(specimen.Ms, specimen.Ku1, specimen.Aex, thickness, "bulk")
    assert relaxed.m is not None
    d = dmi_of_picture(layer, relaxed.m[2], PIXEL, periodic=True) / specimen.critical_D
    assert 0.4 < d < 0.8


def test_a_picture_without_walls_gives_no_dmi() -> None:
    layer, _, _ = film(0.5, "bulk")
    assert math.isnan(dmi_of_picture(layer, np.ones((64, 64)), PIXEL))
