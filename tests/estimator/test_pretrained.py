"""The pretrained estimators are right within their error bars on films that are simulated here."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.any_film import plausible
from magray import Estimator, Film, Minimize, Protocol, relax
from magray.estimator import densities
from magray.estimator.any_film import estimate
from magray.estimator.folders import SHIPPED, shipped
from magray.estimator.posterior import Estimate
from magray.films.design import draw
from magray.imaging import tiles
from magray.imaging.microscope import render_picture
from magray.store.rows import pixels
from tests.support.any_films import design
from tests.support.specimens import co_like

SET = np.linspace(0.15e-3, 0.95e-3, 8)  # D of the films
DESIGNED = 10  # films of the any-film design
COARSE = Protocol(stages=(Minimize(torque=1e-3),))
SIDES = {(1.0, 1): 256, (0.5, 1): 128, (0.5, 4): 128}  # cells, by scale in µm and number of pictures of a film


@pytest.fixture(scope="module")
def films() -> NDArray[np.uint8]:
    """Return pictures (8, 256, 256) of films with the D of SET."""
    made = relax([co_like((256, 256), D=D, seed=seed, protocol=COARSE) for seed, D in enumerate(SET)])
    return np.stack([pixels(done.m[2]) for done in made if done.m is not None])


@pytest.mark.parametrize(("scale_um", "pictures"), SIDES)
@pytest.mark.parametrize("name", ["co-like", "co-like-microscope"])
def test_errors_are_as_large_as_they_say(films: NDArray[np.uint8], name: str, scale_um: float, pictures: int) -> None:
    """The root mean square error is one error bar if 68 % of the errors are within it; with eight films, up to 1.5."""
    estimator, microscope = Estimator.load(name), Estimator.load(name).metadata.microscope
    shown = tiles(films, SIDES[scale_um, pictures])[:, :pictures]
    if microscope is not None:
        shown = np.stack([[render_picture(square, scale_um, microscope) for square in film] for film in shown])
    answers = [estimator.predict(list(film), scale_um=scale_um) for film in shown]
    bars = [(answer.value - D) / answer.error for answer, D in zip(answers, SET, strict=True)]
    assert np.sqrt(np.mean(np.square(bars))) < 1.5
    assert np.corrcoef([answer.value for answer in answers], SET)[0, 1] > 0.7


@pytest.fixture(scope="module")
def designed() -> list[tuple[Film, NDArray[np.uint8]]]:
    """Return films of a design like the training's, none of which was in it, with their pictures (128, 128)."""
    drawn = replace(design(DESIGNED, 128), seed=7, histories={"minimised": 1.0}, beyond=0.0, max_evaluations=3000)
    return [(plausible(done.film), pixels(done.m[2])) for done in relax(draw(drawn)) if done.m is not None]


@pytest.mark.parametrize("knows_Aex", [True, False])
def test_the_estimator_of_any_film_answers_within_its_bars(
    designed: list[tuple[Film, NDArray[np.uint8]]], knows_Aex: bool
) -> None:
    """It is told the constants exactly, and estimates D, and Aex if that is not told."""
    bars, shares = [], []
    for film, picture in designed:
        told = {"Ms": film.Ms, "Ku1": film.Ku1, "thickness": film.cell_size[2]} | (
            {"Aex": film.Aex} if knows_Aex else {}
        )
        found = estimate(
            picture, pixel_nm=1e9 * film.cell_size[0], known=told, dmi=film.dmi, history="minimised", instrument="none"
        ).parameters
        bars.append((found["D"].value - abs(film.D)) / found["D"].error)
        shares.append((found["D"].value - abs(film.D)) / film.critical_D)
        assert knows_Aex or found["Aex"].value == pytest.approx(film.Aex, rel=0.25)
    assert np.sqrt(np.mean(np.square(bars))) < 1.5
    assert np.mean(np.abs(shares)) < 0.05


def test_the_network_asked_at_a_few_nodes_answers_as_if_asked_for_each_draw(
    designed: list[tuple[Film, NDArray[np.uint8]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a thirtieth of a bar, for constants with errors of some percent."""
    film, picture = designed[0]
    known = {name: f"{value} ± 3 %" for name, value in in_units(film).items()}

    def answer() -> Mapping[str, Estimate]:
        return estimate(picture, pixel_nm=1e9 * film.cell_size[0], known=known, dmi=film.dmi).parameters

    by_nodes = answer()
    monkeypatch.setattr(densities, "WORTHWHILE", np.inf)
    for name, exact in answer().items():
        assert by_nodes[name].value == pytest.approx(exact.value, abs=exact.error / 30)
        assert by_nodes[name].error == pytest.approx(exact.error, rel=1 / 30)


def in_units(film: Film) -> dict[str, str]:
    """Return constants of a film as texts, in units of the SI."""
    return {"Ms": f"{film.Ms} A/m", "Keff": f"{film.Keff} J/m3", "thickness": f"{film.cell_size[2]} m"}


def test_more_pictures_of_a_film_reduce_the_error() -> None:
    """Sixteen of 0.5 µm show the same area as one of 2 µm, and have the same error to a fifth."""
    for name in shipped():
        calibration = Estimator.load(name).metadata.calibration
        assert calibration.max_pictures(0.5) == 16
        assert calibration.error("D", 0.5, 16) < 0.65 * calibration.error("D", 0.5)
        assert calibration.error("D", 0.5, 16) == pytest.approx(calibration.error("D", 2.0), rel=0.2)


def test_they_describe_their_training_films() -> None:
    assert shipped() == ["co-like", "co-like-microscope"]
    described = Estimator.load("co-like").metadata.films
    assert described == (
        "7,604 films, seen as they are: Ms 1500 kA/m, Ku1 1.6 MJ/m³, Aex 31 pJ/m, D 0.1 to 1 mJ/m², sigma 0.05 to 0.2, "
        "dz 4 nm; start: random; minimised to 0.0001 Ms"
    )
    through = Estimator.load("co-like-microscope").metadata.films
    assert through.endswith("; start: random; minimised to 0.0001 Ms")
    assert "seen through a point spread of 4 to 20 nm and noise of 0.05 to 0.3" in through


def test_they_are_small() -> None:
    for name, limit in (("co-like", 2e6), ("co-like-microscope", 2e6), ("any-film", 8e6)):
        assert sum(file.stat().st_size for file in (SHIPPED / name).iterdir()) < limit
