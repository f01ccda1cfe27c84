"""Films of an answer are simulated again, and their pictures compared with the one that was given."""

import json
import logging
import math

import numpy as np
import pytest
import torch

from magray import Film, Minimize, Protocol, relax
from magray.estimator import any_film
from magray.estimator.knowns import Knowledge
from magray.estimator.resimulation import COMPARED, Comparison, Resimulation, compare, resimulated
from magray.films.reduced import ReducedNumbers
from magray.imaging import area_average
from tests.estimator.test_any_film import KNOWN, PIXEL_NM, stand_in
from tests.support.stripes import labyrinth

PIXEL = 4e-9


def test_pictures_of_one_period_agree_and_others_do_not() -> None:
    films = np.stack([labyrinth(24, seed, 128) for seed in range(4)])
    same, finer = (compare(labyrinth(period, 9, 128), films, PIXEL) for period in (24, 10))
    assert all(one.agrees for one in same.values())
    assert same["period"].picture == pytest.approx(24 * PIXEL, rel=0.2)
    assert not finer["period"].agrees
    assert not finer["wall density"].agrees


def test_a_picture_of_a_film_agrees_with_films_of_its_constants(caplog: pytest.LogCaptureFixture) -> None:
    """Walls of 5 pixels, so that 96 cells resolve them; strong DMI, so that the window shows several periods."""
    constants = ReducedNumbers(0.5, 4.0, 5.0, 0.92).constants(1e6, PIXEL)
    side, thickness = 128 * PIXEL / 96, constants.pop("thickness")
    coarse = Protocol(stages=(Minimize(3e-4, 3000),))
    film = Film((96, 96), (side, side, thickness), **constants, dmi="bulk", seed=11, protocol=coarse)
    (done,) = relax([film], "cpu")
    assert done.m is not None
    samples = {"Ms": film.Ms, "Keff": film.Keff, "Aex": film.Aex, "D": film.D, "thickness": thickness}
    view = torch.from_numpy(area_average(done.m[2:])[0])
    with caplog.at_level(logging.WARNING):
        found = resimulated(
            view, PIXEL, {name: np.full(4, one) for name, one in samples.items()}, Knowledge.of({}, "bulk"), "cpu"
        )
    assert (found.films, found.cells, found.history) == (4, 96, "minimised")
    assert found.comparisons["period"].agrees
    assert "about" in caplog.text
    assert str(found).count("of the picture") == len(COMPARED)


def test_a_picture_that_differs_makes_the_answer_doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = {"period": Comparison(350e-9, 210e-9, 20e-9, agrees=False)}
    apart = Resimulation(4, 128, "minimised", compared, np.zeros((4, 128, 128), np.float32))
    monkeypatch.setattr(any_film, "resimulated", lambda *_: apart)
    answer = stand_in().estimate(labyrinth(), Knowledge.of(KNOWN), pixel_nm=PIXEL_NM, resimulate=True)
    assert answer.trust == "doubtful"
    assert "a period of 210 ± 20 nm, the picture 350 nm" in answer.reasons[-1]
    record = json.loads(json.dumps(answer.to_json()))
    assert record["resimulation"]["comparisons"]["period"]["picture"] == pytest.approx(350e-9)
    assert math.isclose(record["parameters"]["D"]["value"], answer.parameters["D"].value)
