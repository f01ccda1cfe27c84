"""An estimator is complete in its folder, answers with an error bar, and warns where it should not be trusted."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from PIL import Image

from magray.errors import UserError
from magray.estimator.calibration import calibrate, calibration_scales, conformal_quantile, shrinkage_of
from magray.estimator.estimator import Estimator
from magray.estimator.metadata import Calibration, EstimatorMetadata, ParameterRange, Target
from magray.estimator.predictor import Predictor
from magray.films import Minimize, Protocol, Quench
from magray.imaging import cells_of, read_picture, write_picture
from magray.imaging.microscope import Microscope
from magray.network.branches import ScaleAwareCnn, paper_cnn
from tests.support.stripes import labyrinth, stripes

D = Target("D", "J/m2", mean=0.5e-3, spread=0.2e-3, low=0.1e-3, high=1.0e-3)
MS = Target("Ms", "A/m", mean=1.0e6, spread=0.3e6, low=0.5e6, high=1.5e6)
BARS = {"D": (4e-5, 2e-5, 1e-5), "Ms": (4e4, 2e4, 1e4)}


def estimator_of(*targets: Target, scales: Sequence[float] = (0.25, 1.0)) -> Estimator:
    """Return an untrained estimator, whose answers lie near the means."""
    torch.manual_seed(0)
    calibration = Calibration((0.25, 0.5, 1.0), {target.name: BARS[target.name] for target in targets}, films=9)
    return Estimator(paper_cnn(len(targets)), EstimatorMetadata(targets, tuple(scales), 80, calibration, {}))


def scale_aware() -> Estimator:
    """Return an estimator for all scales between 0.25 and 1 µm, whose answers depend on the scale."""
    torch.manual_seed(0)
    network = ScaleAwareCnn(1)
    for parameter in network.scale.parameters():
        torch.nn.init.normal_(parameter)
    metadata = replace(estimator_of(D).metadata, network="scale-aware", between=True)
    return Estimator(network, metadata)


def picture(side: int = 256) -> NDArray[np.float32]:
    return labyrinth(side=side)


def test_a_saved_estimator_answers_as_before(tmp_path: Path) -> None:
    estimator = estimator_of(D)
    estimator.save(tmp_path)
    loaded = Estimator.load(tmp_path)
    assert loaded.metadata == estimator.metadata
    assert loaded.predict(picture(), scale_um=1.0) == estimator.predict(picture(), scale_um=1.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["estimator.json", "network.safetensors"]


def test_a_scale_aware_estimator_is_one_after_loading_and_asks_for_the_scale(tmp_path: Path) -> None:
    estimator = scale_aware()
    estimator.save(tmp_path)
    loaded = Estimator.load(tmp_path)
    answers = [loaded.predict(picture(), scale_um=scale) for scale in (0.6, 1.0)]
    assert answers[0] == estimator.predict(picture(), scale_um=0.6)
    assert answers[0].value != answers[1].value
    assert not any("between" in warning for warning in answers[0].warnings)
    with pytest.raises(UserError, match="needs the picture's scale"):
        loaded.predict(picture())


def through_a_microscope() -> Estimator:
    estimator = estimator_of(D)
    return Estimator(estimator.network, replace(estimator.metadata, microscope=Microscope((5.0, 25.0), (0.0, 0.2))))


def test_an_estimator_for_microscope_pictures_is_one_after_loading(tmp_path: Path) -> None:
    estimator = through_a_microscope()
    estimator.save(tmp_path)
    loaded = Estimator.load(tmp_path)
    assert loaded.metadata == estimator.metadata
    views = np.rint(stripes(4, 0.5, seed=0, side=128)[None] * 127.5 + 127.5)
    seen = loaded.predict_views(views, scale_um=0.5)
    np.testing.assert_array_equal(seen, estimator.predict_views(views, scale_um=0.5))
    assert seen != estimator_of(D).predict_views(views, scale_um=0.5)
    with pytest.raises(UserError, match="needs the picture's scale"):
        loaded.predict_views(views)


def test_an_estimator_for_microscope_pictures_ignores_uneven_light() -> None:
    uneven = picture() + np.linspace(0, 0.6, 256, dtype=np.float32)[:, None]
    answers = {
        name: [estimator.predict(shown, scale_um=1.0).value for shown in (picture(), uneven)]
        for name, estimator in {"microscope": through_a_microscope(), "none": estimator_of(D)}.items()
    }
    changes = {name: abs(even - sloping) for name, (even, sloping) in answers.items()}
    assert changes["microscope"] < 0.1 * changes["none"]


def test_it_knows_films_within_the_ranges_of_its_training(tmp_path: Path) -> None:
    constants = (ParameterRange("Ms", "A/m", 1.5e6, 1.5e6), ParameterRange("D", "J/m2", 0.1e-3, 1e-3))
    estimator = estimator_of(D)
    assert not estimator.metadata.knows({"Ms": 1.5e6, "D": 0.5e-3}), "older estimators have no record of their films"
    histories = (Protocol(), Protocol(stages=(Quench(alpha=0.5, duration=1e-9, temperature=300.0), Minimize(1e-3))))
    protocols = tuple(history.to_json() for history in histories)
    estimator.metadata = replace(estimator.metadata, constants=constants, protocols=protocols)
    estimator.save(tmp_path)
    known = Estimator.load(tmp_path).metadata
    assert known == estimator.metadata
    assert known.films == (
        "80 films, seen as they are: Ms 1500 kA/m, D 0.1 to 1 mJ/m²; "
        "start: random; minimised to 0.0001 Ms or start: random; 1 ns at α 0.5 and 300 K; minimised to 0.001 Ms"
    )
    films = [{"Ms": 1.5e6, "D": 1e-3}, {"Ms": 1.4e6, "D": 0.5e-3}, {"Ms": 1.5e6, "D": 0.0}]
    assert [known.knows(film) for film in films] == [True, False, False]


def test_folders_of_the_first_format_hold_the_papers_network(tmp_path: Path) -> None:
    estimator_of(D).save(tmp_path)
    path = tmp_path / "estimator.json"
    old = {key: value for key, value in json.loads(path.read_text()).items() if key not in ("network", "between")}
    path.write_text(json.dumps(old | {"format": 1}))
    assert Estimator.load(tmp_path).metadata == estimator_of(D).metadata


def test_one_parameter_is_read_by_itself_and_two_by_name() -> None:
    answer = estimator_of(D).predict(picture(), scale_um=1.0)
    assert (answer.error, answer.unit, answer.warnings) == (1e-5, "J/m2", ())
    assert answer.value == answer.values["D"]
    assert str(answer) == f"D = {answer.value * 1e3:.3g} ± 0.01 mJ/m²"
    both = estimator_of(D, MS).predict(picture(), scale_um=1.0)
    assert both.errors == {"D": 1e-5, "Ms": 1e4}
    with pytest.raises(UserError, match="D, Ms"):
        _ = both.value


def test_several_pictures_of_a_film_have_smaller_error_bars(tmp_path: Path) -> None:
    """Means of two pictures are calibrated at 1 µm, of four at 0.5 µm; a wide picture counts as its squares."""
    estimator = estimator_of(D)
    several = {"D": (((1.4, 2e-5), (1.8, 1e-5)), ((1.2, 1e-5), (1.5, 5e-6)), ((1.1, 6e-6),))}
    metadata = replace(estimator.metadata, calibration=replace(estimator.metadata.calibration, several=several))
    estimator = Estimator(estimator.network, metadata)
    estimator.save(tmp_path)
    assert Estimator.load(tmp_path).metadata == metadata
    shown = [labyrinth(seed=seed) for seed in range(5)]
    alone = [estimator.predict(one, scale_um=1.0).value for one in shown]
    both = estimator.predict(shown[:2], scale_um=1.0)
    assert both.value == pytest.approx(D.mean + 1.1 * (np.mean(alone[:2]) - D.mean))
    assert (both.error, both.warnings) == (6e-6, ())
    assert estimator.predict(np.hstack(shown[:2]), scale_um=1.0).error == both.error
    assert estimator.predict(shown[:3], scale_um=0.5).error == pytest.approx(
        np.interp(np.log2(3), [1, 2], [1e-5, 5e-6])
    )
    (warning,) = estimator.predict(shown, scale_um=1.0).warnings
    assert "that of 2, not 5 pictures" in warning
    assert estimator.predict(shown, scale_um=1.0).error == both.error


def test_pictures_of_one_film_have_one_scale() -> None:
    with pytest.raises(UserError, match="squares of different sizes"):
        estimator_of(D).predict([picture(256), picture(200)], pixel_nm=4.0)
    with pytest.raises(UserError, match="at least one picture"):
        estimator_of(D).predict([], pixel_nm=4.0)


def test_grey_values_of_any_kind_give_the_same_answer(tmp_path: Path) -> None:
    """Contrast and offset of a microscope contain no information about the film."""
    estimator = estimator_of(D)
    write_picture(tmp_path / "a.png", np.rint((picture() + 1) * 127.5).astype(np.uint8))
    expected = estimator.predict(picture(), scale_um=1.0).value
    for grey in (picture() * 40 + 3000, read_picture(tmp_path / "a.png")):
        assert estimator.predict(grey, scale_um=1.0).value == pytest.approx(expected, abs=1e-6)


def test_a_quarter_turn_of_the_picture_changes_nothing() -> None:
    estimator = estimator_of(D)
    turned = estimator.predict(np.rot90(picture()), scale_um=1.0).value
    assert turned == pytest.approx(estimator.predict(picture(), scale_um=1.0).value, abs=1e-7)


@pytest.mark.parametrize(
    ("scale", "error", "warning"),
    [
        (0.25, 4e-5, None),
        (1.0, 1e-5, None),
        (0.75, 1.5e-5, "between those trained on 0.25, 1 µm"),
        (0.375, 3e-5, "between those"),
        (3.0, 4e-5, "beyond all that was tested"),
        (0.1, 4e-5, "beyond all that was tested"),
        (None, 4e-5, "scale is unknown"),
    ],
)
def test_error_bars_and_warnings_follow_the_scale(scale: float | None, error: float, warning: str | None) -> None:
    answer = estimator_of(D).predict(picture(), scale_um=scale)
    assert answer.error == pytest.approx(error)
    assert [warning in text for text in answer.warnings if warning] == ([True] if warning else [])


def test_the_size_of_a_pixel_gives_the_scale() -> None:
    estimator = estimator_of(D)
    assert estimator.predict(picture(), pixel_nm=2.0) == estimator.predict(picture(), scale_um=0.5)
    with pytest.raises(UserError, match="not both"):
        estimator.predict(picture(), scale_um=1.0, pixel_nm=4.0)


def test_a_value_outside_the_training_range_is_flagged() -> None:
    estimator = estimator_of(replace(D, low=0.9e-3))
    (warning,) = estimator.predict(picture(), scale_um=1.0).warnings
    assert warning == "D lies outside the 0.9 mJ/m² to 1 mJ/m² of the training films"


def test_pictures_without_information_are_refused() -> None:
    hole = picture()
    hole[3, 5] = np.inf
    refused: list[tuple[NDArray[Any], str]] = [
        (np.ones((256, 256)), "no contrast"),
        (hole, "not finite"),
        (picture(100), "128 × 128"),
    ]
    for image, reason in refused:
        with pytest.raises(UserError, match=reason):
            estimator_of(D).predict(image, scale_um=1.0)


def test_folders_that_hold_no_estimator_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such estimator folder"):
        Estimator.load(tmp_path / "none")
    for name in ("network.safetensors", "estimator.json"):
        estimator_of(D).save(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(UserError, match=f"{name} is missing"):
            Estimator.load(tmp_path)
    estimator_of(D).save(tmp_path)
    estimator_of(D, MS).save(tmp_path / "two")
    (tmp_path / "network.safetensors").write_bytes((tmp_path / "two" / "network.safetensors").read_bytes())
    with pytest.raises(UserError, match="does not hold this estimator's weights"):
        Estimator.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 99}, "format 99 is newer"),
        ({"format": "6"}, "format"),
        ({"format": math.inf}, "format"),
        ({"targets": 3}, "targets"),
        ({"targets": []}, "targets"),
        ({"targets": [vars(D), vars(D)]}, "twice"),
        ({"targets": [vars(D) | {"spread": 0}]}, "spread"),
        ({"targets": [vars(D) | {"mean": math.nan}]}, "mean"),
        ({"targets": [vars(D) | {"low": 1.0}]}, "low is above high"),
        ({"targets": [vars(D) | {"name": "D\u001b[2J"}]}, "name"),
        ({"network": "other"}, "network"),
        ({"width": 3000}, "times as wide"),
        ({"width": "1"}, "width"),
        ({"between": 1}, "between"),
        ({"train_scales_um": [1.0, 0.25]}, "ascending"),
        ({"train_scales_um": [-1.0]}, "train_scales_um"),
        ({"training_films": 1e300}, "training_films"),
        ({"microscope": {"blur_nm": [5.0, math.nan], "noise": [0.0, 0.1]}}, "microscope"),
        ({"microscope": {"blur_nm": [5.0, 1.0], "noise": [0.0, 0.1]}}, "microscope"),
        ({"microscope": {"blur_nm": [1.0, 5.0], "noise": [0.0, 0.1], "blur_pixels": [2.0, 1.0]}}, "microscope"),
        ({"protocols": ["{}"]}, "protocol: .* is none"),
        ({"protocols": ["[" * 100_000]}, "protocol: .* is none"),
        ({"protocols": ['{"initial": "random", "stages": [{"minimize": {"torque": "small"}}]}']}, "estimator"),
        ({"calibration": None}, "calibration"),
        ({"calibration": {"scales_um": [], "errors": {"D": []}, "films": 9}}, "ascending"),
        ({"calibration": {"scales_um": [1.0], "errors": {"D": [math.nan]}, "films": 9}}, "errors"),
        ({"calibration": {"scales_um": [1.0], "errors": {"D": [1e-5, 1e-5]}, "films": 9}}, "one for each"),
        ({"calibration": {"scales_um": [1.0], "errors": {"Ms": [1e4]}, "films": 9}}, "same names"),
    ],
)
def test_metadata_that_this_version_cannot_read_is_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    estimator_of(D).save(tmp_path)
    path = tmp_path / "estimator.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=reason) as refusal:
        Estimator.load(tmp_path)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    ["", "{ half a file", "[" * 10_000, '{"format": 1e999}', '{"format": ' + "9" * 5000 + "}", "\ud800", '["format"]'],
    ids=["empty", "half", "deep", "infinite", "long", "surrogate", "list"],
)
def test_metadata_that_is_not_json_of_an_estimator_is_refused(tmp_path: Path, text: str) -> None:
    estimator_of(D).save(tmp_path)
    (tmp_path / "estimator.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(UserError, match=r"estimator\.json does not describe an estimator"):
        Estimator.load(tmp_path)


def weights_of(change: Callable[[str, torch.Tensor], torch.Tensor]) -> bytes:
    """Return a file of an estimator's weights, each of them changed."""
    network = estimator_of(D).network
    weights = {name: change(name, value).contiguous() for name, value in network.state_dict().items()}
    return safetensors.torch.save(weights)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: b"", "does not hold"),
        (lambda: b"\xff" * 64, "does not hold"),
        (lambda: (10**8).to_bytes(8, "little") + b"{" * 1000, "does not hold"),
        (lambda: weights_of(lambda _, value: value)[:-9], "does not hold"),
        (lambda: weights_of(lambda _, value: value.double()), "does not hold"),
        (lambda: weights_of(lambda _, value: value.flatten()), "does not hold"),
        (lambda: weights_of(lambda name, value: value * math.nan if name == "2.weight" else value), "not finite"),
        (lambda: weights_of(lambda name, value: value / 0 if name == "2.bias" else value), "not finite"),
    ],
    ids=["empty", "noise", "gigantic header", "cut short", "float64", "other shapes", "NaN", "0/0"],
)
def test_weights_that_do_not_match_the_network_or_are_not_finite_are_refused(
    tmp_path: Path, content: Callable[[], bytes], reason: str
) -> None:
    estimator_of(D).save(tmp_path)
    (tmp_path / "network.safetensors").write_bytes(content())
    with pytest.raises(UserError, match=reason):
        Estimator.load(tmp_path)


@pytest.mark.parametrize("scale", [0, -1.0, math.nan, math.inf, -math.inf, 1e-46, 1e300, 10**400, "1.0", True, 1 + 0j])
def test_a_scale_that_no_picture_has_is_refused(scale: Any) -> None:
    for named in ({"scale_um": scale}, {"pixel_nm": scale}):
        with pytest.raises(UserError, match=r"scale, µm|pixel, nm"):
            scale_aware().predict(picture(), **named)
    with pytest.raises(UserError, match="scale, µm"):
        scale_aware().predict_views(np.zeros((1, 128, 128)), scale)


def test_an_answer_that_is_not_finite_is_an_error() -> None:
    """Finite weights can overflow, too."""
    estimator = estimator_of(D)
    torch.nn.init.constant_(list(estimator.network.parameters())[-1], 3e38)
    metadata = replace(estimator.metadata, targets=(replace(D, spread=1e300),))
    estimator = Estimator(estimator.network, metadata)
    with pytest.raises(UserError, match="not finite"):
        estimator.predict(picture(), scale_um=1.0)
    with pytest.raises(UserError, match="not finite"):
        calibrate(estimator, np.zeros((2, 64, 64), np.uint8), np.zeros((2, 1)), 4.0, (0.25,))


def test_a_picture_may_have_any_common_python_type() -> None:
    estimator, grey = estimator_of(D), np.rint((picture() + 1) * 127.5).astype(np.uint8)
    image = Image.fromarray(grey)
    same: list[Any] = [
        grey.astype(">u2"),
        grey.astype(np.float16),
        np.ma.masked_array(grey, mask=False),
        torch.from_numpy(grey),
        grey.tolist(),
        image,
        image.convert("RGB"),
        image.convert("I"),
        [image],
        iter([grey]),
    ]
    expected = estimator.predict(grey, scale_um=1.0).value
    for one in same:
        assert estimator.predict(one, scale_um=1.0).value == pytest.approx(expected, rel=1e-5), type(one)
    assert estimator.predict(grey > 127, scale_um=1.0) == estimator.predict((grey > 127) * 200, scale_um=1.0)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("film.png", "'film.png' is no picture"),
        (b"film.png", "no picture"),
        (Path("film.png"), "no picture"),
        (3.0, "no picture"),
        (None, "no picture"),
        ({"picture": picture()}, "no picture"),
        (["film.png"], "'film.png' is no picture"),
        ([[]], "no picture"),
        ([[1.0, 2.0], [1.0]], "other lengths"),
        ([[1.0, "a"], [1.0, 2.0]], "not whole or floating-point"),
        (picture().astype(complex), "complex128"),
        (picture().astype(object), "object"),
        (picture().astype(str), "not whole or floating-point"),
        (np.ma.masked_less(picture(), 0), "masked"),
        (picture() * 1e38, "no grey values"),
        (picture().astype(float) * 1e-310, "no grey values"),
        (np.stack([picture()] * 3), "rows and columns"),
        (picture() * np.nan, "not finite"),
        (Image.new("CMYK", (256, 256)), "mode CMYK"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(given: Any, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as refusal:
        estimator_of(D).predict(given, scale_um=1.0)
    assert "\n" not in str(refusal.value)


def test_a_bare_name_is_the_estimator_that_comes_with_magray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that happens to have that name must not be loaded instead."""
    monkeypatch.chdir(tmp_path)
    estimator_of(D).save("co-like")
    assert Estimator.load("co-like").metadata.training_films == 7604
    for own in ("./co-like", str(tmp_path / "co-like"), Path("co-like")):
        assert Estimator.load(own).metadata.training_films == 80
    with pytest.raises(UserError, match=r"co-like, co-like-microscope \(\./co-like would be a folder of yours\)"):
        Estimator.load("./co-like-microscope")


def test_error_bars_hold_for_two_thirds_of_further_errors() -> None:
    """Conformal calibration guarantees it, for small sets of errors too."""
    random = np.random.default_rng(0)
    held = [random.normal() ** 2 <= conformal_quantile(random.normal(size=8) ** 2) for _ in range(4000)]
    assert np.mean(held) == pytest.approx(7 / 9, abs=0.02)  # the rank is a whole number: 7 of 8


def test_calibration_measures_errors_at_trained_and_untrained_scales() -> None:
    """The true values are the estimates plus a known error."""
    predictor = Predictor(paper_cnn(1), (D,))
    images = np.stack([np.rint((stripes(n, 0.5, n, side=64) + 1) * 127.5).astype(np.uint8) for n in (2, 3, 4)])
    true = np.full((3, 1), predictor.predict_views(np.zeros((1, 128, 128)))[0, 0] + 1e-3)
    calibration = calibrate(predictor, images, true, 4.0, (0.25,))
    assert calibration.scales_um == calibration_scales(64, 4.0, (0.25,))
    assert (calibration.scales_um[0], calibration.scales_um[-1], calibration.films) == (0.0625, 0.25, 3)
    assert calibration.errors["D"] == pytest.approx([1e-3] * 7, rel=0.2)


class ShrunkPredictor(Predictor):
    """A predictor with the best estimates from single views, where noise in a view is as large as the signal.

    They are shrunk toward the mean by a factor of 2.
    """

    true: NDArray[np.float64]

    def predict_films(self, films: torch.Tensor, scale_um: float, pixel_nm: float) -> NDArray[np.float64]:
        """Return half of the sum of the true value and noise of the same standard deviation."""
        views = (films.shape[1] // cells_of(scale_um, pixel_nm)) ** 2
        seen = self.true[:, None] + np.random.default_rng(views).normal(size=(len(films), views)) * D.spread
        return (D.mean + 0.5 * (seen - D.mean))[:, :, None]


def test_the_mean_over_pictures_is_corrected_for_the_shrinkage_of_single_estimates() -> None:
    """For normal numbers and m views the correction is 2 / (1 + 1/m); 68 % of errors are below 0.994 σ / √(m + 1)."""
    predictor = ShrunkPredictor(paper_cnn(1), (D,))
    predictor.true = D.mean + np.random.default_rng(0).normal(size=4000) * D.spread
    films = np.zeros((4000, 64, 64), np.uint8)
    calibration = calibrate(predictor, films, predictor.true[:, None], 4.0, (0.25,))
    scale = calibration.scales_um[0]
    assert calibration.max_pictures(scale) == 16
    for pictures in (1, 2, 4, 8, 16):
        shrinkage = 1.0 if pictures == 1 else 2 / (1 + 1 / pictures)
        assert calibration.shrinkage("D", scale, pictures) == pytest.approx(shrinkage, rel=0.05)
        assert calibration.error("D", scale, pictures) == pytest.approx(
            0.994 * D.spread / (pictures + 1) ** 0.5, rel=0.05
        )
    assert calibration.max_pictures(calibration.scales_um[-1]) == 1


def test_a_few_films_are_not_enough_for_a_shrinkage_correction() -> None:
    assert shrinkage_of(np.full((5, 2), 0.5), np.ones((5, 1))) == 1.0
    assert shrinkage_of(np.full((50, 2), 0.5), np.ones((50, 1))) == 2.0
    assert shrinkage_of(np.zeros((50, 2)), np.ones((50, 1))) == 1.0
