"""The probe reads a scale from features that depend on it, and from no others."""

from pathlib import Path

import pytest
import torch

from magray.estimator.estimator import Estimator
from magray.estimator.metadata import Calibration, EstimatorMetadata, Target
from magray.evaluation.scale_probe import PROBE, ScaleProbe, run_scale_probe
from magray.evaluation.study import Trial
from magray.network.branches import paper_cnn
from tests.support.stripes import striped_store

SCALES, PICTURES, FEATURES = 4, 200, 32


def features(shift: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features of pictures of four scales, of which one is moved by `shift` from scale to scale, and classes."""
    classes = torch.arange(SCALES).repeat_interleave(PICTURES)
    made = torch.randn(len(classes), FEATURES, generator=torch.Generator().manual_seed(seed))
    made[:, 5] += shift * classes
    return 1e3 * made + 7, classes


def accuracy(shift: float) -> float:
    probe = ScaleProbe.fit(*features(shift, seed=0))
    unseen, classes = features(shift, seed=1)
    return float((probe.classes(unseen) == classes).float().mean())


def test_a_scale_that_moves_a_feature_is_read_from_pictures_that_the_probe_never_saw() -> None:
    """Neighbours are 8 standard deviations apart: an error is as rare as one of 4, 1 in 16,000."""
    assert accuracy(8.0) > 0.995


def test_a_scale_that_moves_nothing_is_guessed() -> None:
    """A quarter of 800 guesses among four is right, give or take 1.5 %."""
    assert abs(accuracy(0.0) - 0.25) < 0.06


def test_a_picture_between_two_scales_is_taken_for_one_of_them() -> None:
    probe = ScaleProbe.fit(*features(8.0, seed=0))
    unseen, classes = features(8.0, seed=1)
    unseen[:, 5] += 1e3 * 3.0  # of the 8e3 to the next scale
    taken_for = probe.classes(unseen)
    assert ((taken_for == classes) | (taken_for == classes + 1)).float().mean() > 0.99


@pytest.fixture
def estimator(tmp_path: Path) -> Path:
    """Return the folder of an untrained estimator of two scales."""
    torch.manual_seed(0)
    target, errors = Target("D", "J/m2", mean=0.5e-3, spread=0.2e-3, low=0.2e-3, high=0.8e-3), {"D": (1e-5, 1e-5)}
    calibration = Calibration((0.125, 0.25), errors, 3)
    metadata = EstimatorMetadata((target,), (0.125, 0.25), 16, calibration, {})
    Estimator(paper_cnn(1), metadata).save(tmp_path / "estimator")
    return tmp_path / "estimator"


def test_the_features_of_a_picture_of_half_the_film_differ_from_those_of_all_of_it(
    tmp_path: Path, estimator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even without training: cells are twice as large on it."""
    monkeypatch.setattr("magray.evaluation.scale_probe.connect", lambda: None)
    monkeypatch.setattr("magray.evaluation.scale_probe.gpus", lambda: 0)
    store = striped_store(tmp_path / "store", films=150)
    probed = run_scale_probe(store.uri, {Trial("0.125+0.25", 7): estimator}, (0.125, 0.1875, 0.25))
    assert probed.schema == PROBE
    below, between, above = probed.to_pylist()
    assert (below["train_set"], below["seed"]) == ("0.125+0.25", 7)
    assert (below["nearby"] + above["nearby"]) / 2 > 0.65  # of some 60 pictures, of which guesses get half
    assert between["nearby"] == 1.0  # of two trained scales, both are the next
    assert below["read_as"] < between["read_as"] < above["read_as"]
