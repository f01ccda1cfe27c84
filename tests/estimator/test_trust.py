"""Pictures that show no domains are refused, and simulated pictures through instruments are not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from magray import Estimator, Minimize, Protocol, UserError, relax
from magray.estimator.shown import seen_squares
from magray.estimator.trust import LOUDEST, STATISTICS, DomainPictures, domain_pictures, picture_statistics
from magray.imaging import area_average
from magray.imaging.instruments import RANGES
from magray.imaging.microscope import Microscope, apply_microscope
from magray.store.rows import pixels
from tests.support.no_domains import no_domains
from tests.support.specimens import co_like
from tests.support.stripes import labyrinth

MICROSCOPE = Microscope((4.0, 20.0), (0.05, 0.3))


@pytest.fixture(scope="module")
def films() -> NDArray[np.uint8]:
    """Pictures (3, 128, 128) of new Co-like films, a coarse minimum of each."""
    coarse = Protocol(stages=(Minimize(torque=1e-2),))
    made = relax([co_like((128, 128), D=D, seed=seed, protocol=coarse) for seed, D in enumerate((5e-4, 7e-4, 1e-3))])
    return np.stack([pixels(done.m[2]) for done in made if done.m is not None])


def test_what_shows_no_domains_is_refused_nineteen_times_of_twenty() -> None:
    shown = {f"{name} {seed}": picture for seed in range(3) for name, picture in no_domains(seed).items()}
    views = np.stack([area_average(picture[None, :512, :512])[0] for picture in shown.values()])
    passed = [name for name, distance in zip(shown, domain_pictures().distances(views), strict=True) if distance <= 1]
    assert len(passed) <= 0.05 * len(shown), passed


@pytest.mark.parametrize("instrument", ["none", "microscope", *RANGES])
def test_noise_is_refused_whatever_is_said_to_have_taken_it(instrument: str) -> None:
    """A force microscope's noisiest pictures are nearly noise, and noise was answered as one of them."""
    for side in (128, 256, 300, 700):
        noise = np.random.default_rng(side).normal(size=(side, side)).astype(np.float32)
        doubt = seen_squares(noise, 8e-9, instrument).no_domains
        assert doubt is not None, side
        assert doubt.startswith("the picture does not look like domains")


@pytest.mark.parametrize("instrument", [None, *RANGES])
def test_the_noisiest_simulated_pictures_are_not_taken_for_noise(instrument: str | None) -> None:
    roughness = domain_pictures(instrument).correlated()[:, list(STATISTICS).index("roughness")]
    assert np.exp(roughness.max()) < LOUDEST


@pytest.mark.parametrize("estimator", ["co-like", "co-like-microscope"])
def test_the_estimators_that_come_with_magray_say_so(estimator: str) -> None:
    """They used to answer for noise as for a film, with the bar of a film."""
    answer = Estimator.load(estimator).predict(no_domains()["white noise"], scale_um=1.0)
    assert answer.trust == "refused"
    assert "does not look like domains" in answer.reasons[0]
    assert set(answer.reasons) <= set(answer.warnings)


def test_simulated_pictures_are_trusted_as_they_are_and_through_a_microscope(films: NDArray[np.uint8]) -> None:
    shown = area_average(films)
    seen = apply_microscope(torch.from_numpy(shown), 0.5, MICROSCOPE).numpy()
    for views in (shown, seen, 255 - shown, np.rot90(shown, axes=(1, 2))):
        assert (domain_pictures().distances(views) < 1).all()
    assert Estimator.load("co-like").predict(films[1], scale_um=0.5).trust == "trusted"


def test_statistics_do_not_depend_on_contrast(films: NDArray[np.uint8]) -> None:
    shown = area_average(films)
    np.testing.assert_allclose(picture_statistics(9 - 0.01 * shown), picture_statistics(shown), rtol=1e-3, atol=2e-3)
    assert picture_statistics(shown).shape == (3, len(STATISTICS))


def test_one_in_a_hundred_pictures_of_further_films_is_refused() -> None:
    """By construction: the limit is that quantile over films that are left out in turn."""
    views = np.stack([labyrinth(40, seed, 128) for seed in range(120)])
    made = DomainPictures.of(picture_statistics(views), np.arange(120) // 2)
    further = np.stack([labyrinth(40, seed, 128) for seed in range(120, 220)])
    assert np.mean(made.distances(further) > 1) == pytest.approx(0.01, abs=0.03)


def test_they_come_back_from_their_file(tmp_path: Path, films: NDArray[np.uint8]) -> None:
    shown = area_average(films)
    views = np.stack([labyrinth(period, side=128) for period in range(20, 60)])
    made = DomainPictures.of(picture_statistics(views), np.arange(40) // 2)
    made.save(tmp_path / "some.safetensors")
    again = DomainPictures.load(tmp_path / "some.safetensors")
    np.testing.assert_allclose(again.distances(shown), made.distances(shown), rtol=1e-3)
    (tmp_path / "some.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="domain pictures"):
        DomainPictures.load(tmp_path / "some.safetensors")


def test_pictures_that_contradict_each_other_are_refused(films: NDArray[np.uint8]) -> None:
    """For D = 0.5 and 1.0 mJ/m² the mean would be the D of neither."""
    estimator = Estimator.load("co-like")
    answer = estimator.predict([films[0], films[2]], scale_um=0.5)
    assert answer.trust == "refused"
    assert "contradict each other" in answer.reasons[0]


def test_a_picture_that_is_given_twice_counts_once(films: NDArray[np.uint8]) -> None:
    estimator = Estimator.load("co-like")
    assert estimator.predict([films[1]] * 3, scale_um=0.5) == estimator.predict(films[1], scale_um=0.5)


def test_pictures_with_blank_parts_do_not_crash() -> None:
    """An almost empty picture has neither a period nor two levels."""
    spot = np.zeros((1, 128, 128))
    spot[0, :2, :2] = 1
    assert domain_pictures().distances(spot)[0] > 1
    assert np.isfinite(picture_statistics(np.zeros((1, 128, 128)))).all()


def test_films_of_another_material_are_told_by_the_estimators_that_come_with_magray(films: NDArray[np.uint8]) -> None:
    """An Aex of 15 instead of 31 pJ/m narrows walls and domains: without a warning, D would be far too large."""
    coarse = Protocol(stages=(Minimize(torque=3e-3),))
    (other,) = relax([co_like((256, 256), Aex=15e-12, D=5e-4, protocol=coarse)])
    assert other.m is not None
    estimator = Estimator.load("co-like")
    answer = estimator.predict(pixels(other.m[2]), scale_um=1.0)
    assert answer.trust == "doubtful"
    assert "perhaps another material" in answer.warnings[0]
    assert not any("material" in text for text in estimator.predict(films[0], scale_um=0.5).warnings)


def test_an_estimator_keeps_the_pictures_of_its_films(tmp_path: Path) -> None:
    estimator = Estimator.load("co-like")
    estimator.save(tmp_path)
    again = Estimator.load(tmp_path).pictures
    assert again is not None
    assert [again.covers(scale) for scale in (None, 0.1, 0.5, 1.0, 2.0)] == [False, False, True, True, False]
