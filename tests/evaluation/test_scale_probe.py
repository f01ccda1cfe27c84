"""The probe reads a scale from features that depend on it, and from no others."""

import torch

from magray.evaluation.scale_probe import ScaleProbe

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
    """Of 800 guesses among four, a quarter is right, give or take 1.5 %."""
    assert abs(accuracy(0.0) - 0.25) < 0.06


def test_a_picture_between_two_scales_is_taken_for_one_of_them() -> None:
    probe = ScaleProbe.fit(*features(8.0, seed=0))
    unseen, classes = features(8.0, seed=1)
    unseen[:, 5] += 1e3 * 3.0  # of the 8e3 to the next scale
    taken_for = probe.classes(unseen)
    assert ((taken_for == classes) | (taken_for == classes + 1)).float().mean() > 0.99
