"""The effective medium of a multilayer: its constants, and the limits that must hold."""

import pytest

from magray.errors import UserError
from magray.films.reduced import effective_anisotropy, wall_width
from magray.theory import effective_medium

PT_CO = {"Ms": 1.2e6, "Ku1": 1.3e6, "Aex": 12e-12, "D": 1.5e-3, "thickness": 1e-9}


def test_constants_are_diluted_by_the_share_of_the_magnet() -> None:
    film = effective_medium(**PT_CO, spacer=3e-9, repeats=15)
    assert film["Ms"] == pytest.approx(0.3e6)
    assert film["Aex"] == pytest.approx(3e-12)
    assert film["D"] == pytest.approx(0.375e-3)
    assert film["thickness"] == pytest.approx(15e-9 + 14 * 3e-9)


def test_keff_and_the_width_of_walls_follow_those_of_a_layer() -> None:
    film = effective_medium(**PT_CO, spacer=3e-9, repeats=15)
    layer = effective_anisotropy(PT_CO["Ms"], PT_CO["Ku1"])
    assert effective_anisotropy(film["Ms"], film["Ku1"]) == pytest.approx(0.25 * layer)
    assert wall_width(film["Aex"], 0.25 * layer) == pytest.approx(wall_width(PT_CO["Aex"], layer))


def test_layers_without_spacers_are_one_thick_film() -> None:
    film = effective_medium(**PT_CO, spacer=0.0, repeats=5)
    assert film == pytest.approx(PT_CO | {"thickness": 5e-9})


def test_a_single_layer_stays_as_it_is() -> None:
    assert effective_medium(**PT_CO, spacer=3e-9, repeats=1) == PT_CO


def test_a_stack_that_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="1 or more repeats"):
        effective_medium(**PT_CO, spacer=1e-9, repeats=0)
