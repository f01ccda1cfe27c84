"""Instruments in the any-film training: their pictures, their shares, and the YAML that chooses them."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from magray.errors import UserError
from magray.estimator.any_film import AnyFilmEstimator
from magray.estimator.knowns import Knowledge
from magray.imaging.instruments import RANGES
from magray.imaging.instruments.asymmetry import PeemRanges, StxmRanges
from magray.imaging.instruments.mfm import MfmRanges
from magray.imaging.microscope import BAND_LIMIT, InstrumentRanges
from magray.network.any_film import AnyFilmSettings
from magray.network.execution import ExecutionConfig
from magray.store import Store
from magray.training.any_film import fit
from magray.training.any_film.films import FilmSet, read_films
from magray.training.any_film.fit import fit_any_film
from magray.training.any_film.instruments import HALVES, InstrumentShare, pictures_through, read_instruments
from magray.training.any_film.sampler import Sampler, divided
from magray.training.any_film.trainer import AnyFilmTraining
from magray.training.any_film.views import reach_of, views_of
from tests.support.any_films import designed_store
from tests.support.stripes import labyrinth

CPU, PLAIN = torch.device("cpu"), ExecutionConfig(bfloat16=False)
CONFIG = Path(__file__).parents[2] / "configs" / "instruments" / "any-film.yaml"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return designed_store(tmp_path_factory.mktemp("films") / "store", 24)


@pytest.fixture(scope="module")
def films(store: Store) -> FilmSet:
    return read_films(store, CPU)


def test_a_batch_shows_each_instrument_as_often_as_its_share_says(films: FilmSet) -> None:
    """Pictures are finite, as strong as all others, and know their instrument."""
    instruments = read_instruments(CONFIG)
    assert {one.name for one in instruments} == {"none", "microscope", *RANGES}
    torch.manual_seed(0)
    pictures = Sampler([films], PLAIN, instruments).train(40)
    assert bool(torch.isfinite(pictures.views).all())
    torch.testing.assert_close(pictures.views.std((1, 2)), torch.ones(40), atol=0.01, rtol=0.0)
    seen = Counter(instruments[place].name for place in pictures.instrument.tolist())
    assert seen == {one.name: round(40 * one.share) for one in instruments}


def test_whole_numbers_in_proportion_to_shares_make_the_whole() -> None:
    assert divided(10, [0.25, 0.25, 0.5]) == [2, 2, 6]
    assert divided(1, [0.5, 0.5]) == [0, 1]


def upright(films: FilmSet, contrast: float) -> torch.Tensor:
    """Return the geometry of a view of the first film, a cell a pixel."""
    middle = films.side / 2
    return torch.tensor([[1.0, 0.0, 0.0, 1.0, middle, middle, 0.5, contrast]])


@pytest.mark.parametrize("contrast", [1.0, -1.0])
def test_a_perfect_instrument_shows_the_film_as_it_is(films: FilmSet, contrast: float) -> None:
    """A microscope of 1 pm and 1e12 counts, against the view of mz itself: apart by the steps of grey values."""
    perfect = InstrumentShare(
        "stxm", 1.0, StxmRanges.at(resolution=1e-12, incidence=0.0, azimuth=0.0, contrast=0.1, counts=1e12)
    )
    plain = InstrumentShare("none", 1.0, InstrumentRanges((BAND_LIMIT, BAND_LIMIT), (0.0, 0.0)))
    views, first, geometry = (
        views_of(CPU, reach_of(1.0), PLAIN),
        torch.zeros(1, dtype=torch.long),
        upright(films, contrast),
    )
    seen, expected = (pictures_through(one, views, films, first, geometry)[0] for one in (perfect, plain))
    torch.testing.assert_close(seen, expected, atol=0.02, rtol=0.0)


def test_the_lift_is_a_length_and_not_a_number_of_pixels(films: FilmSet) -> None:
    """Twice the cells at twice the lift look the same to a tip without a size; at the same lift they look sharper."""
    still = {"pole": 1e-9, "tip_width": 0.0, "tip_length": 1.0, "canting": 0.0, "azimuth": 0.0}
    quiet = {"noise": 1e-30, "row_noise": 0.0, "scars": 0.0}
    views, first, geometry = views_of(CPU, reach_of(1.0), PLAIN), torch.zeros(1, dtype=torch.long), upright(films, 1.0)

    def seen(lift: float, cell: float) -> torch.Tensor:
        ranges = MfmRanges.at(lift=lift, **still, **quiet)
        torch.manual_seed(1)  # the sign of the pole
        share = InstrumentShare("mfm", 1.0, ranges, (cell, cell), (1e6, 1e6))
        pictures, resolution = pictures_through(share, views, films, first, geometry)
        torch.testing.assert_close(resolution, torch.tensor([lift / cell]))  # in cells
        return pictures

    torch.testing.assert_close(seen(40e-9, 8e-9), seen(20e-9, 4e-9), atol=1e-3, rtol=0.0)
    assert float((seen(20e-9, 8e-9) - seen(20e-9, 4e-9)).abs().max()) > 0.1


def through(films: FilmSet, ranges: InstrumentRanges, count: int = 64) -> torch.Tensor:
    """Return views of the first film, all alike but for what `ranges` draws."""
    torch.manual_seed(3)
    geometry, index = upright(films, 1.0).expand(count, -1), torch.zeros(count, dtype=torch.long)
    share = InstrumentShare("microscope", 1.0, ranges)
    return pictures_through(share, views_of(CPU, reach_of(1.0), PLAIN), films, index, geometry)[0]


NOISY = InstrumentRanges((0.8, 0.8), (0.3, 0.3))


def graininess(pictures: torch.Tensor) -> torch.Tensor:
    """Return the mean square of what is left where neighbours are alike: the second differences of each picture."""
    return (pictures[:, :, 2:] - 2 * pictures[:, :, 1:-1] + pictures[:, :, :-2]).square().mean((1, 2))


def test_a_program_smooths_the_noise_too(films: FilmSet) -> None:
    """A share of the pictures is smoother than any that has not been through a program; the others are left alone."""
    plain = graininess(through(films, NOISY))
    some = graininess(through(films, replace(NOISY, processed=0.5, smoothing=3.0)))
    smoother = int((some < 0.5 * plain.min()).sum())
    assert 12 <= smoother <= 36  # of 64, half of which were smoothed, by up to 3 pixels
    assert int((some > 0.9 * plain.min()).sum()) >= 24


def test_a_contrast_curve_spreads_dark_or_bright_values(films: FilmSet) -> None:
    """A power of the grey values skews them to one side or the other, and leaves their order."""
    quiet = InstrumentRanges((0.8, 0.8), (0.0, 0.0))
    plain, curved = through(films, quiet), through(films, replace(quiet, processed=1.0, gamma=2.5))
    skewness = curved.pow(3).mean((1, 2)) - plain.pow(3).mean((1, 2))
    assert float(skewness.min()) < -0.1 < 0.1 < float(skewness.max())
    mean = plain[0]
    for one in curved:
        assert float(torch.corrcoef(torch.stack([one.ravel(), mean.ravel()]))[0, 1]) > 0.9


def test_an_estimator_knows_the_instruments_that_it_was_trained_on(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "CALIBRATION_PICTURES", 10)
    mixed = (*(replace(one, share=0.25) for one in HALVES), InstrumentShare("mfm", 0.5, MfmRanges()))
    training = AnyFilmTraining(pictures=16, seconds=1e9, batch=8, instruments=mixed)
    fit_any_film([store.uri], tmp_path, AnyFilmSettings(0.25, 2, 16, 8), training, lambda _: None)
    described = json.loads((tmp_path / "estimator.json").read_text())
    assert described["instruments"]["mfm"]["lift"] == list(MfmRanges().lift)
    assert "wall width" in described["calibration"]["mfm"]
    estimator = AnyFilmEstimator.load(tmp_path)
    assert estimator.trained.instruments == ("none", "microscope", "mfm")
    known = {"Ms": 1e6, "Ku1": 0.9e6, "thickness": 6e-9}
    picture = np.asarray(labyrinth())
    lifted = Knowledge.of(known, instrument="mfm", resolution_nm=4000.0)
    assert any(
        "pixels of the network's view, and the training had" in said
        for said in estimator.estimate(picture, lifted, pixel_nm=2.0).reasons
    )
    nv = estimator.estimate(picture, Knowledge.of(known, instrument="nv"), pixel_nm=2.0)
    assert nv.reasons[0] == "the estimator has seen no pictures of nv, only of none, microscope, mfm"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("instruments: {mfm: {share: 0.5}}", "the shares of all instruments make 0.5"),
        ("instruments: {mfm: {lift: [1 nm, 2 nm]}}", "mfm: give its share"),
        (
            "instruments: {mfm: {share: 1, height: [1 nm, 2 nm]}}",
            "mfm: unknown key 'height'; known are share, cell, Ms, lift",
        ),
        ("instruments: {mfm: {share: 1, lift: [20 nm, 10 nm]}}", "mfm.lift: give .smallest, largest."),
        ("instruments: {mfm: {share: 1, lift: 20 nm}}", "mfm.lift: give .smallest, largest., not '20 nm'"),
        ("instruments: {mfm: {share: 1, lift: [20, 30]}}", "mfm.lift: 20 has no unit"),
        ("instruments: {none: {share: 1, blur: [0, 1]}}", "none: unknown key 'blur'; known are share$"),
        ("instruments: {peem: {share: 1}}", "peem.incidence: stores hold mz alone"),
        ("instruments: {lorentz: {share: 1}}", "lorentz: Lorentz microscopy sees"),
        ("instruments: {sem: {share: 1}}", "'sem' is no instrument; known are none, microscope, kerr"),
        ("instruments: [mfm]", "give one key, instruments"),
    ],
)
def test_mistakes_in_the_list_of_instruments_are_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "instruments.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as error:
        read_instruments(path)
    assert str(error.value).startswith(f"{path}: ")


def test_angles_are_written_in_degrees() -> None:
    peem = next(one for one in read_instruments(CONFIG) if one.name == "peem")
    assert isinstance(peem.ranges, PeemRanges)
    assert peem.ranges.incidence == (0.0, 0.0)
    assert PeemRanges().incidence[0] == pytest.approx(math.pi / 3)
