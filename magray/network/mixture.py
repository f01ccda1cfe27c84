"""Mixtures of normal densities of two numbers, whose parameters a network gives for each picture.

    p(y0, y1) = Σ_k w_k N(y0; µ_k, σ_k) N(y1; ν_k − c_k (y0 − µ_k), ρ_k)

The components may be correlated, and the density skewed, curved or with several peaks. It is factorised so that the
density of y0 alone, and that of y1 given y0, are mixtures of normal densities in closed form.
"""

import math

import torch
from torch.nn import functional as F

PARAMETERS = 6  # of a component: log weight, µ, log 1/σ, ν, log 1/ρ, c
NARROWEST, WIDEST = 6.0, -3.0  # log 1/σ, of standardised numbers
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Mixture:
    """The densities of two numbers for n pictures, or one density for any number of them (n = 1).

    parameters: (n, components, PARAMETERS), of standardised numbers. mean, spread: (2,), of the standardisation; all
    methods take and return the numbers themselves.
    """

    def __init__(self, parameters: torch.Tensor, mean: torch.Tensor, spread: torch.Tensor) -> None:
        weights, self.mu, scale0, self.nu, scale1, self.slope = parameters.unbind(-1)
        self.log_weights = torch.log_softmax(weights, -1)
        self.scale0, self.scale1 = scale0.clamp(WIDEST, NARROWEST), scale1.clamp(WIDEST, NARROWEST)
        self.mean, self.spread = mean, spread

    def between(self, places: torch.Tensor, shares: torch.Tensor) -> "Mixture":
        """Return densities (n,) between these: of places (n, k) among them in shares (n, k), parameter by parameter."""
        parts = [self.log_weights, self.mu, self.scale0, self.nu, self.scale1, self.slope]
        parameters = torch.stack([part.expand_as(self.mu) for part in parts], -1)
        mixed = F.embedding_bag(places, parameters.flatten(1), per_sample_weights=shares, mode="sum")
        return Mixture(mixed.view(len(places), -1, PARAMETERS), self.mean, self.spread)

    def log_prob(self, y: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the densities (n,) at `y` (n, 2)."""
        first, second = self._standardised(y[:, 0], 0), self._standardised(y[:, 1], 1)
        z = (second - self._second_means(first)) * self.scale1.exp()
        logs = self._first_logs(first) + self.scale1 - 0.5 * z.square() - HALF_LOG_TWO_PI
        return torch.logsumexp(logs, -1) - self.spread.log().sum()

    def log_prob_first(self, y0: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the densities (n,) of the first number alone, at `y0` (n,)."""
        return torch.logsumexp(self._first_logs(self._standardised(y0, 0)), -1) - self.spread[0].log()

    def sample(self, draws: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Return draws (n, draws, 2)."""
        component = torch.multinomial(self.log_weights.exp(), draws, replacement=True, generator=generator)
        shape, device = (len(component), draws), component.device
        z0, z1 = torch.randn(2, *shape, generator=generator, device=device)
        parts = (self.mu, self.scale0, self.nu, self.scale1, self.slope)
        mu, scale0, nu, scale1, slope = (part.gather(1, component) for part in parts)
        residual = z0 * (-scale0).exp()
        y = torch.stack([mu + residual, nu - slope * residual + z1 * (-scale1).exp()], -1)
        return y * self.spread + self.mean

    def sample_second(self, y0: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Return one draw (n,) of the second number for each first one of `y0` (n,)."""
        first = self._standardised(y0, 0)
        weights = torch.softmax(self._first_logs(first), -1)
        component = torch.multinomial(weights, 1, generator=generator)
        means = self._second_means(first).gather(1, component)[:, 0]
        widths = (-self.scale1).exp().expand_as(weights).gather(1, component)[:, 0]
        z = torch.randn(len(means), generator=generator, device=means.device)
        return (means + widths * z) * self.spread[1] + self.mean[1]

    def cdf_second(self, y0: torch.Tensor, y1: torch.Tensor) -> torch.Tensor:
        """Return the probabilities (n, m) that the second number is below `y1` (n, m), if the first is `y0` (n,)."""
        first = self._standardised(y0, 0)
        weights = torch.softmax(self._first_logs(first), -1)
        z = ((y1 - self.mean[1]) / self.spread[1])[:, :, None] - self._second_means(first)[:, None]
        below: torch.Tensor = torch.special.ndtr(z * self.scale1.exp()[:, None])
        return (weights[:, None] * below).sum(-1)

    def _standardised(self, values: torch.Tensor, which: int) -> torch.Tensor:
        """Return (n, 1)."""
        return ((values - self.mean[which]) / self.spread[which])[:, None]

    def _first_logs(self, first: torch.Tensor) -> torch.Tensor:
        """Return log w_k N(y0; µ_k, σ_k), (n, components)."""
        z = (first - self.mu) * self.scale0.exp()
        return self.log_weights + self.scale0 - 0.5 * z.square() - HALF_LOG_TWO_PI

    def _second_means(self, first: torch.Tensor) -> torch.Tensor:
        """Return the components' means of the second number if the first is known, (n, components)."""
        return self.nu - self.slope * (first - self.mu)
