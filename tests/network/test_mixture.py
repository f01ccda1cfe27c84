"""Mixtures against numerical integrals, and their samples against their densities."""

import math

import pytest
import torch

from magray.network.mixture import PARAMETERS, Mixture

MEAN, SPREAD = torch.tensor([0.5, -2.0]), torch.tensor([0.8, 1.5])


@pytest.fixture
def mixture() -> Mixture:
    generator = torch.Generator().manual_seed(3)
    return Mixture(torch.randn(3, 4, PARAMETERS, generator=generator), MEAN, SPREAD)


def _one(mixture: Mixture, picture: int, count: int) -> Mixture:
    """Return the density of one picture, `count` times."""
    copy = object.__new__(Mixture)
    copy.mean, copy.spread = mixture.mean, mixture.spread
    for name in ("log_weights", "mu", "scale0", "nu", "scale1", "slope"):
        setattr(copy, name, getattr(mixture, name)[picture : picture + 1].expand(count, -1))
    return copy


def test_a_density_integrates_to_one(mixture: Mixture) -> None:
    """Over a grid that reaches twenty spreads; the sum of a smooth function on a grid is exact to rounding."""
    x, y = torch.linspace(-16, 17, 700), torch.linspace(-45, 41, 1200)
    grid = torch.cartesian_prod(x, y)
    total = _one(mixture, 1, len(grid)).log_prob(grid).exp().sum() * (x[1] - x[0]) * (y[1] - y[0])
    assert float(total) == pytest.approx(1.0, abs=2e-3)


def test_the_density_of_the_first_number_is_the_integral_over_the_second(mixture: Mixture) -> None:
    y = torch.linspace(-60, 60, 6001)
    grid = torch.stack([torch.full_like(y, 0.9), y], 1)
    integral = _one(mixture, 0, len(y)).log_prob(grid).exp().sum() * (y[1] - y[0])
    assert float(mixture.log_prob_first(torch.full((3,), 0.9))[0].exp()) == pytest.approx(float(integral), rel=1e-3)


def test_the_cumulative_density_is_the_integral_of_the_density_given_the_first_number(mixture: Mixture) -> None:
    y = torch.linspace(-60, -1, 6001)
    one = _one(mixture, 2, len(y))
    first = torch.full_like(y, 0.2)
    densities = (one.log_prob(torch.stack([first, y], 1)) - one.log_prob_first(first)).exp()
    below = mixture.cdf_second(torch.full((3,), 0.2), torch.full((3, 1), -1.0))[2, 0]
    assert float(below) == pytest.approx(float(torch.trapezoid(densities, y)), abs=1e-3)


def test_samples_have_the_mean_of_the_density(mixture: Mixture) -> None:
    """Within four standard errors of 200,000 draws."""
    draws = mixture.sample(200_000, torch.Generator().manual_seed(0))
    weights = mixture.log_weights.exp()
    expected = torch.stack([(weights * mixture.mu).sum(1), (weights * mixture.nu).sum(1)], 1) * SPREAD + MEAN
    error = draws.std(1) / math.sqrt(draws.shape[1])
    assert bool(((draws.mean(1) - expected).abs() < 4 * error).all())


def test_second_numbers_follow_the_density_given_the_first(mixture: Mixture) -> None:
    """The place of a draw in its own cumulative density is uniform: a mean of 1/2 and a variance of 1/12."""
    one = _one(mixture, 1, 20_000)
    first = torch.full((20_000,), 0.7)
    drawn = one.sample_second(first, torch.Generator().manual_seed(0))
    places = one.cdf_second(first, drawn[:, None])[:, 0]
    assert float(places.mean()) == pytest.approx(0.5, abs=4 * math.sqrt(1 / 12 / 20_000))
    assert float(places.var()) == pytest.approx(1 / 12, rel=0.03)


def test_one_density_serves_any_number_of_pictures(mixture: Mixture) -> None:
    """The prior of the knowns has no picture, and is asked about many."""
    single = Mixture(torch.zeros(1, 1, PARAMETERS), torch.zeros(2), torch.ones(2))
    found = single.log_prob(torch.tensor([[0.0, 0.0], [1.0, 2.0]]))
    torch.testing.assert_close(found, torch.tensor([0.0, -2.5]) - math.log(2 * math.pi))
