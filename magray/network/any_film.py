"""The network of the any-film estimator: a picture and what is known of its film → a density of (log δ, log s).

δ is the width of a wall in pixels, and s the energy of a wall over that of the stray field; with Q1 and τ, which the
knowns give, they say Aex and D (`magray.films.reduced`).

The body is five of the paper's blocks and the mean over what they leave of the picture, so that it counts what the
picture shows wherever it lies. A picture's features are the mean over its mirror images and both signs, so that these
have the same answer. The heads are small, and run for each draw of the knowns:

    posterior           p(log δ, log s | picture, knowns)    the knowns change features by a gain and a shift (FiLM)
    prior               π(log δ, log s | knowns)             of the training films
    consistency         p(log Q1, log τ | picture)
    consistency_prior   π(log Q1, log τ)                     of the training films

The likelihood of a picture is, but for a factor, posterior / prior · consistency / consistency_prior.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from magray.films.design import HISTORIES, KINDS
from magray.network.branches import FILTERS, blocks
from magray.network.kernels.blocks import Blocks
from magray.network.kernels.kernels import Compile
from magray.network.mixture import PARAMETERS, Mixture

INSTRUMENTS = ("none", "microscope")
UNKNOWN = -1
BODY = (*FILTERS[:4], 2 * FILTERS[4])  # filters of the blocks at a width of 1
LEAST_VARIANCE = 1e-3  # of a direction of the features, relative to the mean
QUIET = 0.3  # what the last layers' first weights are scaled by
SYMMETRIES = 8  # views of a picture: two signs, mirrored or not along x and along y

Features = Callable[[torch.Tensor], torch.Tensor]  # (n, size) of views (n, h, w)


@dataclass(frozen=True)
class AnyFilmSettings:
    """The sizes of the network, and the instruments that it is told of.

    width: of the body, relative to the paper's. components: of each mixture.
    """

    width: float = 2.0
    components: int = 8
    hidden: int = 256
    embedding: int = 128
    instruments: tuple[str, ...] = INSTRUMENTS

    @property
    def knowns(self) -> int:
        """How many numbers stand for what is known: of instruments, all but the first one's."""
        return 2 + len(KINDS) + len(HISTORIES) + len(self.instruments) - 1 + 2 * self.told_resolution

    @property
    def told_resolution(self) -> bool:
        """Whether there are instruments that have a resolution."""
        return not set(self.instruments) <= set(INSTRUMENTS)


@dataclass
class Knowns:
    """The known numbers of n films and their pictures: (n,) each.

    dmi, history, instrument: integers, the places in KINDS, HISTORIES and the settings' instruments. UNKNOWN for a kind
    of DMI or a history that is not known. log_resolution: of the instrument's resolution, in pixels; NaN if unknown.
    """

    log_Q1: torch.Tensor
    log_tau: torch.Tensor
    dmi: torch.Tensor
    history: torch.Tensor
    instrument: torch.Tensor
    log_resolution: torch.Tensor

    def __len__(self) -> int:
        return len(self.log_Q1)

    def numbers(self) -> torch.Tensor:
        """Return log Q1 and log τ, (n, 2)."""
        return torch.stack([self.log_Q1, self.log_tau], 1).float()


class AnyFilmNetwork(nn.Module):
    """Body and heads. What it is told and asked is standardised inside, by the means and spreads in its buffers."""

    known_mean: torch.Tensor
    known_spread: torch.Tensor
    sought_mean: torch.Tensor
    sought_spread: torch.Tensor
    feature_mean: torch.Tensor
    feature_whitening: torch.Tensor

    def __init__(self, settings: AnyFilmSettings) -> None:
        super().__init__()
        self.settings = settings
        filters = [round(settings.width * number) for number in BODY]
        size, hidden, components = filters[-1], settings.hidden, settings.components
        self.size = size
        self.layers = blocks(filters)
        self.embed = nn.Sequential(
            nn.Linear(settings.knowns, settings.embedding),
            nn.ReLU(),
            nn.Linear(settings.embedding, settings.embedding),
            nn.ReLU(),
        )
        self.film = nn.Linear(settings.embedding, 2 * size + 2 * hidden)
        for parameter in self.film.parameters():
            nn.init.zeros_(parameter)
        self.first, self.second = nn.Linear(size, hidden), nn.Linear(hidden, hidden)
        self.density = _density(hidden, components)
        self.prior_density = nn.Sequential(
            nn.Linear(settings.knowns, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            _density(hidden, components),
        )
        self.pair_density = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), _density(hidden, components))
        self.pair_prior = nn.Parameter(_spread_out(components))
        for name in ("known", "sought"):
            self.register_buffer(f"{name}_mean", torch.zeros(2))
            self.register_buffer(f"{name}_spread", torch.ones(2))
        self.register_buffer("feature_mean", torch.zeros(size))
        self.register_buffer("feature_whitening", torch.eye(size))

    def standardise(self, knowns: torch.Tensor, sought: torch.Tensor) -> None:
        """Set means and spreads to those of log Q1 and log τ (n, 2), and of log δ and log s (n, 2)."""
        for name, values in (("known", knowns), ("sought", sought)):
            getattr(self, f"{name}_mean").copy_(values.mean(0))
            getattr(self, f"{name}_spread").copy_(values.std(0).clamp(min=1e-3))

    def features(self, views: torch.Tensor) -> torch.Tensor:
        """Return features (n, size) of views (n, 128, 128) as `magray.imaging.microscope.detrend` leaves them."""
        return self.pooled(self.layers(views[:, None]))

    def pooled(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the mean over what the blocks leave of pictures, float32."""
        return maps.float().reshape(len(maps), self.size, -1).mean(-1)

    def whiten(self, features: torch.Tensor) -> None:
        """Take the mean and the covariance of `features` (n, size) of pictures of films as what `distance` expects."""
        self.feature_mean.copy_(features.mean(0))
        values, directions = torch.linalg.eigh(torch.cov((features - self.feature_mean).T.double()))
        least = LEAST_VARIANCE * values.mean().clamp(min=1e-12)
        self.feature_whitening.copy_(directions * (values + least).rsqrt())

    def distance(self, features: torch.Tensor) -> torch.Tensor:
        """Return how far pictures (n,) are from those of films: root mean square of whitened features, about 1."""
        return ((features - self.feature_mean) @ self.feature_whitening).square().mean(1).sqrt()

    def posterior(self, features: torch.Tensor, knowns: Knowns) -> Mixture:
        """Return p(log δ, log s) of pictures with these features (n, size)."""
        size, hidden = self.size, self.settings.hidden
        gain, shift, inner_gain, inner_shift = self.film(self.embed(self._told(knowns))).split(
            [size, size, hidden, hidden], 1
        )
        x = F.relu(self.first(features * (1 + gain) + shift)) * (1 + inner_gain) + inner_shift
        return self._sought(self.density(F.relu(self.second(x))))

    def prior(self, knowns: Knowns) -> Mixture:
        """Return π(log δ, log s) of the training films with these knowns."""
        return self._sought(self.prior_density(self._told(knowns)))

    def consistency(self, features: torch.Tensor) -> Mixture:
        """Return p(log Q1, log τ) of pictures with these features (n, size)."""
        return self._known(self.pair_density(features))

    def consistency_prior(self) -> Mixture:
        """Return π(log Q1, log τ) of the training films."""
        return self._known(self.pair_prior.flatten()[None])

    def _told(self, knowns: Knowns) -> torch.Tensor:
        numbers = (knowns.numbers() - self.known_mean) / self.known_spread
        kinds = (_one_hot(knowns.dmi, len(KINDS)), _one_hot(knowns.history, len(HISTORIES)))
        instruments = _one_hot(knowns.instrument - 1, len(self.settings.instruments) - 1)
        told = [numbers, *kinds, instruments]
        if self.settings.told_resolution:
            known = knowns.log_resolution.isfinite()
            told += [torch.where(known, knowns.log_resolution, 0.0)[:, None], known[:, None].float()]
        return torch.cat(told, 1)

    def _sought(self, parameters: torch.Tensor) -> Mixture:
        return Mixture(parameters.view(len(parameters), -1, PARAMETERS), self.sought_mean, self.sought_spread)

    def _known(self, parameters: torch.Tensor) -> Mixture:
        return Mixture(parameters.view(len(parameters), -1, PARAMETERS), self.known_mean, self.known_spread)


def symmetric(features: Features) -> Features:
    """Return what gives the mean features (n, size) of views (n, h, w), their mirror images and both signs of all."""

    def mean(views: torch.Tensor) -> torch.Tensor:
        both = torch.cat([views, -views])
        mirrored = torch.cat([both, both.flip(-1)])
        found = features(torch.cat([mirrored, mirrored.flip(-2)]))
        return found.view(SYMMETRIES, len(views), -1).mean(0)

    return mean


def kernel_features(
    network: AnyFilmNetwork,
    compile: Compile,  # noqa: A002
    bfloat16: bool,
) -> Features:
    """Return what `network.features` does, by our own kernels, with gradients in training mode only."""
    blocks, dtype = Blocks(network.layers, compile, bfloat16), torch.bfloat16 if bfloat16 else torch.float32
    return lambda views: network.pooled(blocks(views.to(dtype)))


def _density(inputs: int, components: int) -> nn.Linear:
    """Return a layer for the parameters of mixtures, whose components begin in different places."""
    layer = nn.Linear(inputs, components * PARAMETERS)
    with torch.no_grad():
        layer.weight.mul_(QUIET)
        layer.bias.copy_(_spread_out(components).flatten())
    return layer


def _spread_out(components: int) -> torch.Tensor:
    """Return parameters (components, PARAMETERS) of a mixture whose components lie side by side."""
    parameters = torch.zeros(components, PARAMETERS)
    if components > 1:
        places = torch.linspace(-1, 1, components)
        parameters[:, 1], parameters[:, 3] = places, places.roll(components // 2)
    return parameters


def _one_hot(values: torch.Tensor, kinds: int) -> torch.Tensor:
    """Return (n, kinds); zeros where a value is UNKNOWN. F.one_hot would wait for the device, and refuse −1."""
    return (values[:, None] == torch.arange(kinds, device=values.device)).float()
