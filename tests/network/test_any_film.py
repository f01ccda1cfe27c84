"""The network of any film: what its body and its heads are told, and what they must not care about."""

from dataclasses import replace

import pytest
import torch

from magray.network.any_film import UNKNOWN, AnyFilmNetwork, AnyFilmSettings, Knowns, symmetric

SMALL = AnyFilmSettings(width=0.25, components=3, hidden=16, embedding=8)


@pytest.fixture
def network() -> AnyFilmNetwork:
    torch.manual_seed(0)
    network = AnyFilmNetwork(SMALL).eval()
    network.standardise(torch.randn(50, 2) - 1, torch.randn(50, 2) * 2 + 1)
    return network


def knowns(count: int = 3, history: int = 1, resolution: float = torch.nan) -> Knowns:
    dmi, history_, instrument = (torch.full((count,), kind) for kind in (0, history, 1))
    numbers = torch.linspace(-2, 1, count), torch.linspace(0, 1, count)
    return Knowns(*numbers, dmi, history_, instrument, torch.full((count,), resolution).log())


def test_a_film_that_repeats_itself_has_the_same_features_wherever_its_picture_begins(network: AnyFilmNetwork) -> None:
    """The mean over the picture knows no place: a shift by the stride of the body changes the edges only."""
    stripes = torch.sin(torch.arange(128) * 2 * torch.pi / 32).expand(2, 128, 128)
    inside = network.layers(stripes[:, None])[:, :, 1:3, 1:3]
    moved = network.layers(stripes.roll(32, 2)[:, None])[:, :, 1:3, 1:3]
    torch.testing.assert_close(inside, moved, atol=1e-4, rtol=1e-3)


def test_densities_are_of_the_numbers_themselves(network: AnyFilmNetwork) -> None:
    """Twice the spread of what is sought is half the density in the middle of it: one log 2 for each number."""
    y = network.sought_mean.expand(3, 2)
    before = network.prior(knowns()).log_prob(y)
    network.sought_spread.mul_(2)
    torch.testing.assert_close(
        before - network.prior(knowns()).log_prob(y), torch.full((3,), 2 * torch.log(torch.tensor(2.0)).item())
    )


def test_an_unknown_history_is_none_of_the_histories(network: AnyFilmNetwork) -> None:
    y = network.sought_mean.expand(3, 2)
    told = [network.prior(knowns(history=history)).log_prob(y) for history in (UNKNOWN, 0, 1, 2, 3)]
    assert all(not torch.allclose(told[0], other) for other in told[1:])


def test_a_resolution_that_is_not_told_is_none_of_all_resolutions() -> None:
    """An estimator of mz alone has no input for it, so that those of former versions are read as they were."""
    network = AnyFilmNetwork(replace(SMALL, instruments=("none", "microscope", "mfm"))).eval()
    y = network.sought_mean.expand(3, 2)
    told = [network.prior(knowns(resolution=length)).log_prob(y) for length in (torch.nan, 1.0, 5.0)]
    assert all(not torch.allclose(told[0], other) for other in told[1:])
    assert not torch.allclose(told[1], told[2])
    assert SMALL.knowns == replace(SMALL, instruments=("none", "microscope", "mfm")).knowns - 3


def test_one_picture_may_be_asked_with_many_knowns(network: AnyFilmNetwork) -> None:
    """Draws of the knowns share the features of their picture, which are made once."""
    features = network.features(torch.rand(1, 128, 128) * 2 - 1)
    draws = network.posterior(features.expand(5, -1), knowns(5)).sample(7, torch.Generator().manual_seed(0))
    assert draws.shape == (5, 7, 2)
    ratio = network.consistency(features).log_prob(knowns(1).numbers()) - network.consistency_prior().log_prob(
        knowns(1).numbers()
    )
    assert bool(ratio.isfinite().all())


def test_mirror_images_and_inverted_pictures_have_the_same_symmetric_features() -> None:
    network = AnyFilmNetwork(AnyFilmSettings(width=0.25)).eval()
    features = symmetric(network.features)
    view = torch.rand(1, 128, 128) * 2 - 1
    expected = features(view)
    for other in (-view, view.flip(1), view.flip(2), -view.flip(1, 2)):
        torch.testing.assert_close(features(other), expected)
    assert not torch.allclose(network.features(-view), network.features(view))
