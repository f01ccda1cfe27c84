"""The estimator of any film: from pictures and knowns to answers, with a stand-in for its network.

The stand-in reads log δ and log s, whatever the picture, within errors that are known.
"""

import json
import math
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from magray import Normal, UserError
from magray.errors import Refused
from magray.estimator.any_film import (
    FORMAT,
    KIND,
    AnyFilmDescription,
    AnyFilmEstimator,
    estimate,
    is_any_film,
)
from magray.estimator.knowns import INSTRUMENTS, Knowledge
from magray.estimator.shown import SHARPNESS, seen_as_in_training, seen_squares
from magray.estimator.weights import save_weights
from magray.films.reduced import wall_energy, wall_width
from magray.imaging.instruments import RANGES
from magray.imaging.microscope import detrend
from magray.network.any_film import AnyFilmNetwork, AnyFilmSettings
from magray.training.any_film.views import turned_views
from magray.units import MU0
from tests.support.gaussian_heads import TRAINED, GaussianHeads
from tests.support.no_domains import no_domains
from tests.support.stripes import labyrinth

MS, KEFF, AEX, D, THICKNESS = 1.2e6, 0.25e6, 13e-12, 0.9e-3, 6e-9
KNOWN: dict[str, object] = {"Ms": MS, "Keff": KEFF, "thickness": THICKNESS}
TRAINED_RANGES = {"Q1": TRAINED.Q1, "tau": TRAINED.tau, "delta": TRAINED.delta, "d": (0.0, TRAINED.d)}
PIXEL_NM = 2.0  # of pictures of 256 pixels, and 4 nm of their views
LOG_DELTA = math.log(wall_width(AEX, KEFF) / 4e-9)
LOG_S = math.log(wall_energy(AEX, KEFF, D) / (MU0 * MS**2 * THICKNESS))


class StandIn(AnyFilmNetwork):
    """A network that sees the same wall in every picture."""

    def __init__(self, heads: GaussianHeads) -> None:
        super().__init__(AnyFilmSettings(0.25, 2, 8, 8))
        for name in ("posterior", "prior", "consistency", "consistency_prior"):
            setattr(self, name, getattr(heads, name))

    def distance(self, features: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(features))

    def features(self, views: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[LOG_DELTA, LOG_S]]).expand(len(views), 2)


def stand_in(pair: tuple[float, float] | None = None, calibration: dict[str, object] | None = None) -> AnyFilmEstimator:
    heads = GaussianHeads((0.02, 0.05), (LOG_DELTA, LOG_S), (2.0, 2.0), pair)
    described = AnyFilmDescription(KIND, FORMAT, AnyFilmSettings(), TRAINED_RANGES, calibration or {})
    return AnyFilmEstimator(StandIn(heads), described)


@pytest.fixture(scope="module")
def picture() -> NDArray[np.float32]:
    return labyrinth()


def test_it_answers_for_all_that_is_not_known(picture: NDArray[np.float32]) -> None:
    answer = stand_in().estimate(picture, Knowledge.of({**KNOWN, "Ms": Normal(MS, 0.03 * MS)}), pixel_nm=PIXEL_NM)
    assert set(answer.parameters) == {"D", "Aex"}
    assert answer.parameters["D"].value == pytest.approx(D, rel=0.03)
    assert answer.parameters["Aex"].value == pytest.approx(AEX, rel=0.03)
    assert answer.correlation > 0  # the wider the wall, the more of both
    assert math.hypot(*answer.budget["D"].values()) == pytest.approx(answer.parameters["D"].error)
    assert "the picture does not show the sign of D" in answer.notes
    lines = str(answer).splitlines()
    assert lines[0].startswith("|D| = 0.9")
    assert any(line.startswith("of D's error: picture") for line in lines)


def test_the_answer_is_one_json_object_in_si_units(picture: NDArray[np.float32]) -> None:
    record = stand_in().estimate(picture, Knowledge.of(KNOWN), pixel_nm=PIXEL_NM).to_json()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert set(record) >= {"parameters", "budget", "trust", "reasons", "baselines"}
    assert set(record["parameters"]["D"]) == {"value", "error", "low68", "high68", "low95", "high95", "unit"}
    assert set(record["baselines"]) == {"stripe_theory", "rescaling"}


def test_only_the_pictures_part_of_the_error_is_stretched_by_the_calibration(picture: NDArray[np.float32]) -> None:
    twice = {"at": [0.0, 1.0], "factors68": [2.0, 2.0], "factors95": [2.0, 2.0]}
    calibration: dict[str, object] = {"microscope": {"D, Aex known": twice}}
    exact, vague = ({**KNOWN, "Aex": AEX, "Ms": Ms} for Ms in (MS, Normal(MS, 0.1 * MS)))
    for known, least, most in ((exact, 1.9, 2.1), (vague, 1.0, 1.3)):
        plain, wide = (
            one.estimate(picture, Knowledge.of(known), pixel_nm=PIXEL_NM).parameters["D"].error
            for one in (stand_in(), stand_in(None, calibration))
        )
        assert least < wide / plain < most


def test_a_picture_of_an_instrument_that_no_training_showed_is_refused(picture: NDArray[np.float32]) -> None:
    """The value is there for --force; it is what a picture with blur and noise would say."""
    known = Knowledge.of(KNOWN, instrument="mfm")
    answer = stand_in().estimate(picture, known, pixel_nm=PIXEL_NM)
    assert answer.trust == "refused"
    assert answer.reasons[0] == "the estimator has seen no pictures of mfm, only of none, microscope"
    assert answer.parameters["D"].value == pytest.approx(D, rel=0.03)
    told = replace(stand_in().description, settings=AnyFilmSettings(instruments=("none", "mfm")))
    trained = AnyFilmEstimator(stand_in().network, told)
    assert trained.estimate(picture, known, pixel_nm=PIXEL_NM).trust != "refused"
    with pytest.raises(UserError, match="leave --resimulate out"):
        trained.estimate(picture, known, pixel_nm=PIXEL_NM, resimulate=True)


def test_lorentz_pictures_are_refused_with_the_reason() -> None:
    with pytest.raises(UserError, match="sees the induction in the plane"):
        Knowledge.of(KNOWN, instrument="lorentz")
    assert set(RANGES) < set(INSTRUMENTS)


def test_a_picture_without_domains_is_refused() -> None:
    answer = stand_in().estimate(no_domains()["white noise"], Knowledge.of(KNOWN), pixel_nm=1.0)
    assert answer.trust == "refused"
    assert "does not look like domains" in answer.reasons[0]


def test_what_the_network_has_never_seen_is_refused(picture: NDArray[np.float32]) -> None:
    """The stand-in says 1 for the distance of every picture."""
    for limits, trust in (((0.5, 0.9), "refused"), ((0.9, 1.1), "doubtful")):
        distances = dict(zip(("0.99", "0.999"), limits, strict=True))
        estimator = stand_in(None, {"microscope": {"distances": distances}})
        answer = estimator.estimate(picture, Knowledge.of(KNOWN), pixel_nm=PIXEL_NM)
        assert answer.trust == trust
        assert any("the network sees something" in reason for reason in answer.reasons)


def test_picture_and_constants_that_contradict_each_other_are_refused(picture: NDArray[np.float32]) -> None:
    """The picture says that τ is a quarter of what is told: pixels four times as large would fit."""
    Q1 = KEFF / (MU0 * MS**2 / 2)
    told = THICKNESS / 4e-9
    answer = stand_in((math.log(Q1), math.log(told / 4))).estimate(picture, Knowledge.of(KNOWN), pixel_nm=PIXEL_NM)
    assert answer.trust == "refused"
    assert "pixels 4" in answer.reasons[0]


def test_constants_outside_of_the_training_are_refused(picture: NDArray[np.float32]) -> None:
    with pytest.raises(Refused, match="thickness"):
        stand_in().estimate(picture, Knowledge.of({**KNOWN, "thickness": "90 nm"}), pixel_nm=PIXEL_NM)
    for Keff, trust in (("1..9 MJ/m3", "refused"), ("1..4.2 MJ/m3", "doubtful")):
        answer = stand_in().estimate(picture, Knowledge.of({**KNOWN, "Keff": Keff}), pixel_nm=PIXEL_NM)
        assert answer.trust == trust
        assert "Keff / (µ0 Ms² / 2) of " in answer.reasons[0]


def test_the_same_picture_twice_changes_nothing(picture: NDArray[np.float32]) -> None:
    one, two = (
        stand_in().estimate(given, Knowledge.of(KNOWN), pixel_nm=PIXEL_NM) for given in ([picture], [picture, picture])
    )
    assert one.parameters == two.parameters


def test_another_picture_of_the_film_shrinks_the_bar(picture: NDArray[np.float32]) -> None:
    further = [picture, labyrinth(seed=1)]
    one, two = (stand_in().estimate(given, Knowledge.of(KNOWN), pixel_nm=PIXEL_NM) for given in ([picture], further))
    assert two.parameters["Aex"].error == pytest.approx(one.parameters["Aex"].error / math.sqrt(2), rel=0.1)


def test_a_large_picture_of_fine_domains_is_seen_in_parts() -> None:
    """A view of all 512 pixels with a period of 24 would have only six pixels for each period."""
    fine = labyrinth(24, side=512)
    shown = stand_in()._shown(fine, None, 1.0, Knowledge.of(KNOWN))
    assert len(shown.views) == 4
    assert shown.pixel in (pytest.approx(2e-9), pytest.approx(1e-9))


@pytest.mark.parametrize(("shape", "views"), [((160, 192), 2), ((192, 160), 2), ((160, 160), 1), ((150, 1000), 4)])
def test_squares_cover_a_picture_that_is_no_square(shape: tuple[int, int], views: int) -> None:
    """They overlap if they must; of more than four, four lie all along it."""
    picture = np.tile(labyrinth(24, side=512), (1, 2))[: shape[0], : shape[1]]
    shown = seen_squares(picture, 1e-9, "none")
    assert len(shown.views) == views
    turned = seen_squares(picture[::-1, ::-1], 1e-9, "none")  # its last square is the first of the picture upside down
    torch.testing.assert_close(turned.views[-1].flip(0, 1), shown.views[0], atol=0.2, rtol=0.0)


@pytest.mark.parametrize("n", [1.5, 2, 3, 4])
def test_a_simulation_is_seen_as_sharp_as_in_training(n: float) -> None:
    """Pixels of n × n cells, and walls without a width, of which means alone differ by twice as much."""
    film = np.where(labyrinth(20.0 * n, side=round(128 * n)) > 0, np.float32(255), np.float32(0))
    middle, blur = 64.0 * n - 0.5, SHARPNESS * n
    upright = torch.tensor([[n, 0.0, 0.0, n, middle, middle, blur, 1.0]])
    trained = detrend(
        turned_views(torch.from_numpy(film)[None].byte(), torch.tensor([0]), upright, math.ceil(3 * blur))
    )
    inside = (slice(None), slice(8, -8), slice(8, -8))  # of the edges, beyond which a film goes on
    seen, means = (seen_as_in_training(film[None], instrument) for instrument in ("none", "microscope"))
    assert 2 * (seen - trained)[inside].std() < (means - trained)[inside].std()


def test_everything_known_leaves_nothing_to_answer(picture: NDArray[np.float32]) -> None:
    with pytest.raises(UserError, match="everything is known"):
        stand_in().estimate(picture, Knowledge.of({**KNOWN, "Aex": AEX, "D": D}), pixel_nm=PIXEL_NM)


def test_the_size_of_the_picture_is_told_once(picture: NDArray[np.float32]) -> None:
    sizes: tuple[dict[str, Any], ...] = ({}, {"pixel_nm": 2.0, "scale_um": 0.5})
    for size in sizes:
        with pytest.raises(UserError, match="size of the picture"):
            stand_in().estimate(picture, Knowledge.of(KNOWN), **size)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an untrained estimator, as training writes it."""
    settings, made = AnyFilmSettings(0.25, 2, 16, 16), tmp_path_factory.mktemp("any-film")
    save_weights(AnyFilmNetwork(settings), made / "network.safetensors")
    described = {"kind": KIND, "format": FORMAT, "settings": asdict(settings), "trained": TRAINED_RANGES}
    (made / "estimator.json").write_text(json.dumps({**described, "calibration": {}, "seed": 0, "versions": {}}))
    return made


def test_an_estimator_is_read_from_its_folder(folder: Path, picture: NDArray[np.float32]) -> None:
    assert is_any_film(folder)
    assert not is_any_film("co-like")
    answer = estimate(picture, pixel_nm=PIXEL_NM, known={"Ms": MS, "Keff": KEFF, "thickness": "6 nm"}, estimator=folder)
    assert set(answer.parameters) == {"D", "Aex"}


def test_a_warm_estimator_answers_in_a_moment(folder: Path, picture: NDArray[np.float32]) -> None:
    estimate(picture, pixel_nm=PIXEL_NM, known=KNOWN, estimator=folder)
    start = time.perf_counter()
    estimate(picture, pixel_nm=PIXEL_NM, known=KNOWN, estimator=folder)
    assert time.perf_counter() - start < 5  # a few tenths of a second on two idle cores


def test_a_damaged_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such estimator"):
        AnyFilmEstimator.load(tmp_path)
    (tmp_path / "estimator.json").write_text('{"kind": "any-film", "format": 1}')
    with pytest.raises(UserError, match="does not describe an estimator of any film"):
        AnyFilmEstimator.load(tmp_path)
    (tmp_path / "estimator.json").write_text((folder / "estimator.json").read_text())
    (tmp_path / "network.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="weights"):
        AnyFilmEstimator.load(tmp_path)
