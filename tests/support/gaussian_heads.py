"""A stand-in for the network of any film whose densities are known in closed form.

A made-up picture is two numbers: log δ and log s of its film, each with a normal error. In the training, log δ and
log s are normal and independent of Q1 and τ.
"""

import math
from dataclasses import dataclass

import torch

from magray.estimator.posterior import SeenPicture, Trained
from magray.network.any_film import Knowns

TRAINED = Trained((0.02, 4.0), (0.02, 10.0), delta=(0.2, 20.0), d=0.97, t_over_wall_width=(0.01, 8.0))


@dataclass
class NormalPair:
    """Independent normal densities of two numbers, for n draws."""

    mean: torch.Tensor  # (n, 2)
    error: torch.Tensor  # (2,)

    def between(self, places: torch.Tensor, shares: torch.Tensor) -> "NormalPair":
        return NormalPair((shares[:, :, None] * self.mean[places]).sum(1), self.error)

    def log_prob(self, y: torch.Tensor) -> torch.Tensor:
        return self._logs(y).sum(1)

    def log_prob_first(self, y0: torch.Tensor) -> torch.Tensor:
        return self._logs(torch.stack([y0, y0], 1))[:, 0]

    def sample(self, draws: int, generator: torch.Generator | None) -> torch.Tensor:
        noise = torch.randn(len(self.mean), draws, 2, generator=generator)
        return self.mean[:, None] + self.error * noise

    def sample_second(self, y0: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        return self.mean[:, 1] + self.error[1] * torch.randn(len(y0), generator=generator)

    def _logs(self, y: torch.Tensor) -> torch.Tensor:
        return -0.5 * ((y - self.mean) / self.error).square() - self.error.log() - 0.5 * math.log(2 * math.pi)


@dataclass
class GaussianHeads:
    """Densities of made-up pictures with errors of log δ and log s, and the training's mean and spread of these."""

    error: tuple[float, float] = (0.05, 0.2)
    mean: tuple[float, float] = (0.5, -1.0)
    spread: tuple[float, float] = (0.8, 1.5)
    pair: tuple[float, float] | None = None  # log Q1, log τ that pictures tell, within 0.3; None if nothing

    def posterior(self, features: torch.Tensor, knowns: Knowns) -> NormalPair:  # noqa: ARG002
        error, spread = torch.tensor(self.error), torch.tensor(self.spread)
        precision = 1 / error**2 + 1 / spread**2
        return NormalPair((features / error**2 + torch.tensor(self.mean) / spread**2) / precision, precision**-0.5)

    def prior(self, knowns: Knowns) -> NormalPair:
        return NormalPair(torch.tensor(self.mean).expand(len(knowns.log_Q1), 2), torch.tensor(self.spread))

    def consistency(self, features: torch.Tensor) -> NormalPair:
        if self.pair is None:
            return self.consistency_prior()
        return NormalPair(torch.tensor(self.pair).expand(len(features), 2), torch.tensor([0.3, 0.3]))

    def consistency_prior(self) -> NormalPair:
        return NormalPair(torch.tensor([[-1.0, -0.5]]), torch.tensor([1.5, 1.5]))


def made_up_picture(log_delta: float, log_s: float, pixel: float = 8e-9) -> SeenPicture:
    """Return a picture that reads so."""
    return SeenPicture(torch.tensor([[log_delta, log_s]]), pixel)
