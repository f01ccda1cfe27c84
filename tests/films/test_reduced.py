"""The reduced numbers of a film: closed forms, the invariance behind them, and the way back to constants."""

import numpy as np
import pytest

from magray.films import Film
from magray.films.reduced import (
    ReducedNumbers,
    critical_dmi,
    dmi_of_wall_energy,
    effective_anisotropy,
    wall_energy,
    wall_width,
)
from magray.units import MU0

CO_LIKE = {"Ms": 1.5e6, "Ku1": 1.6e6, "Aex": 31e-12, "D": 0.5e-3, "thickness": 4e-9}


def test_the_formulas_agree_with_those_of_a_film() -> None:
    film = Film((64, 64), (4e-9, 4e-9, 4e-9), 1.5e6, 1.6e6, 31e-12, 0.5e-3, "bulk")
    Keff = effective_anisotropy(film.Ms, film.Ku1)
    assert Keff == pytest.approx(film.Keff, rel=1e-12)
    assert critical_dmi(film.Aex, Keff) == pytest.approx(film.critical_D, rel=1e-12)
    assert wall_width(film.Aex, Keff) == pytest.approx(12.9e-9, rel=0.01)  # √(31 pJ/m / 0.186 MJ/m³)


def test_a_wall_costs_nothing_at_the_critical_dmi() -> None:
    Dc = critical_dmi(31e-12, 1.86e5)
    assert wall_energy(31e-12, 1.86e5, Dc) == pytest.approx(0, abs=1e-18)
    assert wall_energy(31e-12, 1.86e5, -0.5e-3) == wall_energy(31e-12, 1.86e5, 0.5e-3)
    assert dmi_of_wall_energy(31e-12, 1.86e5, wall_energy(31e-12, 1.86e5, 0.5e-3)) == pytest.approx(0.5e-3)


def test_s_is_the_wall_energy_over_that_of_the_stray_field() -> None:
    numbers = ReducedNumbers.of(**CO_LIKE, pixel=8e-9)
    sigma = wall_energy(31e-12, effective_anisotropy(1.5e6, 1.6e6), 0.5e-3)
    assert numbers.s == pytest.approx(sigma / (MU0 * 1.5e6**2 * 4e-9))


@pytest.mark.parametrize(("length", "moment"), [(3.0, 1.0), (1.0, 0.4), (0.5, 2.0)])
def test_films_that_are_scaled_copies_have_the_same_numbers(length: float, moment: float) -> None:
    energy = moment**2
    copy = {"Ms": 1.5e6 * moment, "Ku1": 1.6e6 * energy, "Aex": 31e-12 * energy * length**2}
    copy |= {"D": 0.5e-3 * energy * length, "thickness": 4e-9 * length}
    one, other = ReducedNumbers.of(**CO_LIKE, pixel=8e-9), ReducedNumbers.of(**copy, pixel=8e-9 * length)
    for name in ("Q1", "tau", "delta", "d", "s"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-12)


def test_constants_come_back_from_the_numbers_of_many_films() -> None:
    random = np.random.default_rng(1)
    Ms = random.uniform(0.3e6, 1.5e6, 50)
    films = {"Ms": Ms, "Ku1": MU0 * Ms**2, "Aex": random.uniform(5e-12, 40e-12, 50)}
    films |= {"D": random.uniform(0, 2e-3, 50), "thickness": random.uniform(1e-9, 20e-9, 50)}
    numbers = ReducedNumbers.of(**films, pixel=8e-9)
    again = ReducedNumbers.from_wall(numbers.Q1, numbers.tau, numbers.delta, numbers.s)
    for name, values in again.constants(Ms, 8e-9).items():
        np.testing.assert_allclose(values, films[name], rtol=1e-12, atol=1e-15)


def test_a_film_that_lies_in_the_plane_has_no_numbers() -> None:
    assert np.isnan(ReducedNumbers.of(1.5e6, 1.0e6, 31e-12, 0.0, 4e-9, pixel=8e-9).Q1)
