"""Medians and intervals of d and δ of pictures whose other numbers are known exactly, and how true they are.

Aex known: δ is known, and d follows from p(log s | log δ). Aex unknown: both follow from draws. d is kept in 0…DEEPEST,
where the films are whose d is asked for.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray

from magray.network.any_film import AnyFilmNetwork, symmetric
from magray.network.execution import ExecutionConfig
from magray.network.mixture import Mixture
from magray.training.any_film.films import DEEPEST
from magray.training.any_film.sampler import Pictures
from magray.training.any_film.trainer import features_of

GRID, DRAWS = 400, 800
AT_ONCE = 256  # pictures
LEVELS = {"low95": 0.025, "low68": 0.16, "median": 0.5, "high68": 0.84, "high95": 0.975}


@dataclass
class Intervals:
    """Quantiles (n,) of a number's posterior, and the rank of the truth in it, 0…1."""

    low95: torch.Tensor
    low68: torch.Tensor
    median: torch.Tensor
    high68: torch.Tensor
    high95: torch.Tensor
    rank: torch.Tensor

    def some(self, which: torch.Tensor) -> "Intervals":
        """Return those of some of the pictures."""
        return Intervals(*(getattr(self, field.name)[which] for field in fields(self)))

    @staticmethod
    def joined(parts: list["Intervals"]) -> "Intervals":
        """Return the intervals of all parts."""
        return Intervals(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Intervals)))

    def needed(self, truth: torch.Tensor, level: int) -> torch.Tensor:
        """Return how many times wider the interval of each picture must be to reach the truth; level: 68 or 95."""
        low, high = getattr(self, f"low{level}"), getattr(self, f"high{level}")
        above = (truth - self.median) / (high - self.median).clamp(min=1e-9)
        below = (self.median - truth) / (self.median - low).clamp(min=1e-9)
        return torch.where(truth >= self.median, above, below)


@dataclass
class Answers:
    """The network's answers for pictures: d if Aex is known and if not, δ, and the mean log density of the truth."""

    d_aex_known: Intervals
    d_aex_unknown: Intervals
    delta: Intervals
    log_density: torch.Tensor
    features: torch.Tensor


@torch.no_grad()
def answers(
    network: AnyFilmNetwork,
    pictures: Pictures,
    execution: ExecutionConfig,
    dmi: torch.Tensor | bool = True,
    history: torch.Tensor | bool = True,
    resolution: torch.Tensor | bool = True,
) -> Answers:
    """Return what the network says of pictures; dmi, history, resolution: whether it is told of them."""
    network.eval()
    features = symmetric(features_of(network, pictures.views.device, execution))
    generator = torch.Generator(pictures.views.device).manual_seed(0)
    parts = []
    for part, which in _split(pictures):
        seen = features(part.views).float()
        told = [value if isinstance(value, bool) else value[which] for value in (dmi, history, resolution)]
        density = network.posterior(seen, part.knowns(*told))
        unknown, delta = d_and_delta(density, part, generator)
        logs = density.log_prob(part.sought())
        parts.append(Answers(d_given_delta(density, part), unknown, delta, logs, seen))
    network.train()
    return Answers(
        Intervals.joined([part.d_aex_known for part in parts]),
        Intervals.joined([part.d_aex_unknown for part in parts]),
        Intervals.joined([part.delta for part in parts]),
        torch.cat([part.log_density for part in parts]),
        torch.cat([part.features for part in parts]),
    )


def _split(pictures: Pictures) -> Iterator[tuple[Pictures, torch.Tensor]]:
    for which in torch.split(torch.arange(len(pictures), device=pictures.views.device), AT_ONCE):
        yield pictures.some(which), which


def d_given_delta(density: Mixture, truth: Pictures) -> Intervals:
    """Return the intervals of d for films whose δ is known."""
    device = truth.Q1.device
    d = torch.linspace(0, DEEPEST, GRID, device=device)
    largest = 2 * truth.delta * truth.Q1 / truth.tau  # s of the film without DMI
    below = density.cdf_second(truth.delta.log(), (largest[:, None] * (1 - d)).log()).double()
    below_truth = density.cdf_second(truth.delta.log(), truth.s.log()[:, None]).double()
    room = (below[:, :1] - below[:, -1:]).clamp(min=1e-12)
    # where all of the density lies beyond one end, d is at that end
    flat = (below[:, :1] - below[:, -1:]) < 1e-9
    beyond = (below[:, :1] < 0.5).expand(-1, GRID)
    cumulative = ((below[:, :1] - below) / room).clamp(0, 1).cummax(1).values
    cumulative = torch.where(flat, torch.where(beyond, 1.0, 0.0).double(), cumulative)
    rank = ((below[:, :1] - below_truth) / room).clamp(0, 1)[:, 0]
    found = {name: _inverse(cumulative, d.double(), level).float() for name, level in LEVELS.items()}
    return Intervals(**found, rank=rank.float())


def _inverse(cumulative: torch.Tensor, values: torch.Tensor, level: float) -> torch.Tensor:
    """Return where each row of `cumulative` (n, m), over `values` (m,), passes a level."""
    wanted = torch.full((len(cumulative), 1), level, dtype=cumulative.dtype, device=cumulative.device)
    place = torch.searchsorted(cumulative.contiguous(), wanted).clamp(1, len(values) - 1)
    before, after = (cumulative.gather(1, one)[:, 0] for one in (place - 1, place))
    part = ((level - before) / (after - before).clamp(min=1e-12)).clamp(0, 1)
    place = place[:, 0]
    return values[place - 1] + part * (values[place] - values[place - 1])


def d_and_delta(density: Mixture, truth: Pictures, generator: torch.Generator) -> tuple[Intervals, Intervals]:
    """Return the intervals of d and of δ from draws of both."""
    log_delta, log_s = density.sample(DRAWS, generator).unbind(-1)
    d = 1 - (log_s - log_delta).exp() * (truth.tau / (2 * truth.Q1))[:, None]
    valid = (d >= 0) & (d <= DEEPEST)
    valid |= ~valid.any(1, keepdim=True)  # a picture of no film that was trained is told by what is nearest
    d = d.clamp(0, DEEPEST)
    return _of_draws(d, valid, truth.d), _of_draws(log_delta.exp(), valid, truth.delta)


def _of_draws(draws: torch.Tensor, valid: torch.Tensor, truth: torch.Tensor) -> Intervals:
    count = valid.sum(1)
    ordered = torch.where(valid, draws, torch.inf).sort(1).values

    def at(level: float) -> torch.Tensor:
        return ordered.gather(1, ((count - 1) * level).round().long()[:, None])[:, 0]

    rank = (valid & (draws < truth[:, None])).sum(1) / count
    return Intervals(**{name: at(level) for name, level in LEVELS.items()}, rank=rank)


def conformal_factors(intervals: Intervals, truth: torch.Tensor, bins: int = 10) -> dict[str, list[float]]:
    """Return factors that make intervals cover 68 and 95 % of the truths, in each quantile bin of the medians.

    `at`: the middle of each bin; between them the factors are interpolated. Split-conformal: the quantile of what
    held-out pictures would have needed, of n + 1 (Lei et al., J. Am. Stat. Assoc. 113, 1094, 2018).
    """
    order = intervals.median.argsort()
    needed = {level: intervals.needed(truth, level).cpu().numpy() for level in (68, 95)}
    medians, parts = intervals.median.cpu().numpy(), np.array_split(order.cpu().numpy(), bins)
    parts = [part for part in parts if len(part)]
    at = [float(np.median(medians[part])) for part in parts]
    factors = {f"factors{level}": [_quantile(needed[level][part], level / 100) for part in parts] for level in (68, 95)}
    kept = [place for place in range(len(at)) if not place or at[place] > at[place - 1]]  # ascending
    return {"at": [at[k] for k in kept], **{name: [values[k] for k in kept] for name, values in factors.items()}}


def _quantile(needed: NDArray[np.floating], level: float) -> float:
    rank = min(len(needed) - 1, math.ceil((len(needed) + 1) * level) - 1)
    return float(np.clip(np.sort(needed)[rank], 0.2, 20.0))


def stretched(intervals: Intervals, factors: dict[str, list[float]], most: float = math.inf) -> Intervals:
    """Return intervals stretched about their medians by conformal factors, within 0…`most`."""
    median = intervals.median.cpu().numpy()
    ends = {}
    for level in (68, 95):
        factor = np.interp(median, factors["at"], factors[f"factors{level}"])
        factor = torch.from_numpy(factor).to(intervals.median)
        for side in ("low", "high"):
            end = getattr(intervals, f"{side}{level}")
            ends[f"{side}{level}"] = (intervals.median + factor * (end - intervals.median)).clamp(0, most)
    return Intervals(median=intervals.median, rank=intervals.rank, **ends)
