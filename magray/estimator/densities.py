"""The densities that the network of any film gives, and the few nodes for which it is asked for them."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch

from magray.network.any_film import Knowns

NODE_STEP = 0.05  # of log Q1 and log τ, between which the network's densities are interpolated
WORTHWHILE = 2  # draws for each node, at least


class Density(Protocol):
    """A density of (log δ, log s), or of (log Q1, log τ), for each of n draws."""

    def between(self, places: torch.Tensor, shares: torch.Tensor) -> "Density":
        """Return densities (n,) between these: of places (n, k) among them in shares (n, k)."""

    def log_prob(self, y: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the density (n,) at y (n, 2)."""

    def log_prob_first(self, y0: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the density (n,) of the first number alone, at y0 (n,)."""

    def sample(self, draws: int, generator: torch.Generator | None) -> torch.Tensor:
        """Return draws (n, draws, 2)."""

    def sample_second(self, y0: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        """Return draws (n,) of the second number, given the first."""


class Heads(Protocol):
    """The densities that the network of any film gives."""

    def posterior(self, features: torch.Tensor, knowns: Knowns) -> Density:
        """Return p(log δ, log s | picture, knowns)."""

    def prior(self, knowns: Knowns) -> Density:
        """Return π(log δ, log s | knowns) of the training films."""

    def consistency(self, features: torch.Tensor) -> Density:
        """Return p(log Q1, log τ | picture)."""

    def consistency_prior(self) -> Density:
        """Return π(log Q1, log τ) of the training films."""


@dataclass(frozen=True)
class Nodes:
    """Values (m,) of log Q1 and log τ for which the network is asked, and draws (n,) between them.

    The network's densities are smooth, and constants that are known well lie close together: a few nodes do for
    thousands of draws. places, shares: (n, 4), the nodes around each draw and their shares of it; None where each draw
    is a node.
    """

    log_Q1: torch.Tensor
    log_tau: torch.Tensor
    places: torch.Tensor | None = None
    shares: torch.Tensor | None = None

    @classmethod
    def of(cls, log_Q1: torch.Tensor, log_tau: torch.Tensor) -> "Nodes":
        """Return the nodes of a grid of at most NODE_STEP around the draws, or the draws if there are few."""
        Q1, tau = _Axis.of(log_Q1), _Axis.of(log_tau)
        if len(Q1.nodes) * len(tau.nodes) * WORTHWHILE > len(log_Q1):
            return cls(log_Q1, log_tau)
        places = [i * len(tau.nodes) + j for i in (Q1.below, Q1.above) for j in (tau.below, tau.above)]
        shares = [a * b for a in (1 - Q1.share, Q1.share) for b in (1 - tau.share, tau.share)]
        grid = torch.meshgrid(Q1.nodes, tau.nodes, indexing="ij")
        return cls(grid[0].flatten(), grid[1].flatten(), torch.stack(places, 1), torch.stack(shares, 1))

    def draws_of(self, density: Density) -> Density:
        """Return the density for each draw, given that for each node."""
        if self.places is None or self.shares is None:
            return density
        return density.between(self.places, self.shares)


@dataclass(frozen=True)
class _Axis:
    """Nodes (k,) along one number, and for each draw (n,) those below and above it, and the share of the latter."""

    nodes: torch.Tensor
    below: torch.Tensor
    above: torch.Tensor
    share: torch.Tensor

    @classmethod
    def of(cls, values: torch.Tensor) -> "_Axis":
        low, high = float(values.min()), float(values.max())
        steps = math.ceil((high - low) / NODE_STEP)
        nodes = torch.linspace(low, high, steps + 1, device=values.device)
        place = (values - low) * (steps / (high - low)) if steps else torch.zeros_like(values)
        below = place.long().clamp(max=max(0, steps - 1))
        return cls(nodes, below, (below + 1).clamp(max=steps), place - below)
