"""The posterior of a film's constants, given pictures of it and what is known: importance sampling.

With y = (log δ, log s) the wall's width and energy in reduced numbers (`magray.films.reduced`), and Q1 and τ known, the
network gives p(y | picture, Q1, τ), the same without a picture, π(y | Q1, τ), and p(Q1, τ | picture) and π(Q1, τ). So

    likelihood of a picture = p(y | picture, Q1, τ) / π(y | Q1, τ) · p(Q1, τ | picture) / π(Q1, τ)

and several pictures of a film multiply, to a power below 1 (SHARED). A draw is a film: what is known is drawn from its
own distribution, δ and s from the density of one of the pictures unless Aex or D is known, and a weight makes up for
the difference.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from magray.errors import Refused
from magray.estimator.densities import Density, Heads, Nodes
from magray.estimator.knowns import CONSTANTS, Knowledge, Range
from magray.films.design import HISTORIES, KINDS
from magray.films.reduced import (
    critical_dmi,
    dmi_of_wall_energy,
    effective_anisotropy,
    stray_energy,
    wall_energy,
    wall_width,
)
from magray.network.any_film import INSTRUMENTS, Knowns
from magray.units import MU0

Array = NDArray[np.float64]
Limits = tuple[float, float]

DRAWS, BUDGET_DRAWS = 4096, 1024
FEW = 300  # effective draws, below which MORE times as many are made
MORE = 8
SHARED = 0.6  # correlation of the errors of two windows of one film (docs/any-film.md)
LEVELS = {"low95": 0.025, "low68": 0.16, "median": 0.5, "high68": 0.84, "high95": 0.975}
EVIDENCE_TAIL = -745.0  # the logarithm of the smallest float


@dataclass(frozen=True)
class Trained:
    """The ranges of the reduced numbers of the training films, and the instruments; `d` begins at 0."""

    Q1: Limits
    tau: Limits
    delta: Limits
    d: float
    t_over_wall_width: Limits = (0.0, math.inf)
    instruments: tuple[str, ...] = INSTRUMENTS


@dataclass(frozen=True)
class SeenPicture:
    """A picture as the network sees it: features (1, F) and the size of a pixel of its view, m."""

    features: torch.Tensor
    pixel: float


@dataclass(frozen=True)
class Samples:
    """Films (n,) that fit the pictures and what is known, by constant, SI, all with the same weight.

    log_evidence: how much better these knowns explain the pictures than any film of the training does, as the natural
    logarithm of a ratio; with several pictures, that they show the same film is part of it. log_agreement: how much
    better one film explains several pictures than another film for each does. effective: independent draws.
    outside: the share of the knowns' draws by the reduced number that lies outside of the training's; for d and t/Δ,
    the share of what the pictures say.
    """

    constants: Mapping[str, Array]
    log_evidence: float
    log_agreement: float
    effective: float
    outside: Mapping[str, float]


def sample(
    heads: Heads,
    pictures: Sequence[SeenPicture],
    knowledge: Knowledge,
    trained: Trained,
    draws: int = DRAWS,
    seed: int = 0,
) -> Samples:
    """Return samples of the posterior of a film of which `pictures` were taken.

    Raises Refused where no film of the training can be meant.
    """
    found = _sample(heads, pictures, knowledge, trained, draws, seed)
    return found if found.effective >= FEW else _sample(heads, pictures, knowledge, trained, MORE * draws, seed)


def _sample(
    heads: Heads, pictures: Sequence[SeenPicture], knowledge: Knowledge, trained: Trained, draws: int, seed: int
) -> Samples:
    random = np.random.default_rng(seed)
    films = _draw_knowns(knowledge, trained, [picture.pixel for picture in pictures], draws, random)
    outside = _outside(films, pictures, trained)
    with torch.inference_mode():
        weights, terms, likelihood = _weigh(heads, pictures, knowledge, films, trained, random)
    weights = np.where(np.logical_or.reduce(list(outside.values())), -np.inf, weights)
    shares = {name: float(out.mean()) for name, out in outside.items()}
    beyond = _beyond_training(films, trained)
    shares |= {name: _weight_of(out, weights) for name, out in beyond.items()}
    weights = np.where(np.logical_or.reduce(list(beyond.values())), -np.inf, weights)
    if not np.isfinite(weights).any():
        raise Refused(_nothing_fits(films, pictures, trained, shares))
    counted = np.where(np.isfinite(weights), weights - _shared(len(pictures)) * likelihood, -np.inf)
    normed = np.exp(counted - counted.max())
    chosen = _systematic(normed / normed.sum(), DRAWS, random)
    constants = {name: values[chosen] for name, values in films.items()}
    return Samples(
        constants,
        _log_mean(weights),
        _log_mean(np.where(np.isfinite(weights), terms, -np.inf)),
        float(normed.sum() ** 2 / np.square(normed).sum()),
        shares,
    )


def _shared(pictures: int) -> float:
    """Return the share of the pictures' likelihood that repeats what another one says: 1 less its power."""
    return 1 - 1 / (1 + (pictures - 1) * SHARED)


def _draw_knowns(
    knowledge: Knowledge, trained: Trained, pixels: Sequence[float], draws: int, random: np.random.Generator
) -> dict[str, Array]:
    """Return draws of Ms, Keff and thickness, and of Aex and D where they are known; SI.

    What is unknown is drawn such that the logarithms of Q1 and τ are uniform over the training's range. Further
    anisotropies weigh the draws (`_log_agreement_of_knowns`).
    """
    known = knowledge.constants
    films = {name: known[name].draw(draws, random) for name in ("Ms", "Aex", "D") if name in known}
    if "thickness" in known:
        films["thickness"] = known["thickness"].draw(draws, random)
    else:
        films["thickness"] = _log_uniform(trained.tau, draws, random) * math.exp(float(np.mean(np.log(pixels))))
    Q1 = _log_uniform(trained.Q1, draws, random)
    name = knowledge.anisotropy
    if name is None and "Ms" not in known:
        films["Ms"] = _log_uniform((CONSTANTS["Ms"].low, CONSTANTS["Ms"].high), draws, random)
    if name is None:
        films["Keff"] = Q1 * stray_energy(films["Ms"])
        return films
    anisotropy = known[name].draw(draws, random)
    if "Ms" not in known:
        films["Ms"] = {
            "Keff": np.sqrt(2 * anisotropy / (MU0 * Q1)),
            "Hk": anisotropy / Q1,
            "Ku1": np.sqrt(2 * anisotropy / (MU0 * (1 + Q1))),
        }[name]
    films["Keff"] = _keff_of(name, anisotropy, films["Ms"])
    return films


def _keff_of(name: str, anisotropy: Array, Ms: Array) -> Array:
    """Return Keff, J/m³, that follows from Keff, Hk or Ku1; negative for a film that lies in the plane."""
    if name == "Keff":
        return anisotropy
    return MU0 * anisotropy * Ms / 2 if name == "Hk" else np.asarray(effective_anisotropy(Ms, anisotropy))


def _log_uniform(limits: Limits, draws: int, random: np.random.Generator) -> Array:
    return limits[0] * (limits[1] / limits[0]) ** random.uniform(size=draws)


def _outside(
    films: Mapping[str, Array], pictures: Sequence[SeenPicture], trained: Trained
) -> dict[str, NDArray[np.bool_]]:
    """Return which draws lie outside of the training's Q1 and τ, in any of the pictures."""
    Q1 = films["Keff"] / stray_energy(films["Ms"])
    taus = [films["thickness"] / picture.pixel for picture in pictures]
    return {
        "Q1": _beyond(Q1, trained.Q1),
        "tau": np.logical_or.reduce([_beyond(tau, trained.tau) for tau in taus]),
    }


def _beyond_training(films: Mapping[str, Array], trained: Trained) -> dict[str, NDArray[np.bool_]]:
    """Return which complete films have a D above the training's, or walls too wide or narrow for their thickness."""
    Keff = np.maximum(films["Keff"], 1e-9)
    return {
        "d": films["D"] > trained.d * critical_dmi(films["Aex"], Keff),
        "t_over_wall_width": _beyond(films["thickness"] / wall_width(films["Aex"], Keff), trained.t_over_wall_width),
    }


def _weight_of(chosen: NDArray[np.bool_], log_weights: Array) -> float:
    """Return the share of the chosen draws in the weight of all."""
    if not np.isfinite(log_weights).any():
        return float(chosen.mean())
    weights = np.exp(log_weights - log_weights.max())
    return float(weights[chosen].sum() / weights.sum())


def _beyond(values: Array, limits: Limits) -> NDArray[np.bool_]:
    return ~((limits[0] <= values) & (values <= limits[1]))


def _weigh(
    heads: Heads,
    pictures: Sequence[SeenPicture],
    knowledge: Knowledge,
    films: dict[str, Array],
    trained: Trained,
    random: np.random.Generator,
) -> tuple[Array, Array, Array]:
    """Complete the films by Aex and D; return the logarithms of three numbers for each.

    These are its weight; the same without what the knowns say of themselves; and the likelihood of all pictures.
    """
    walls = _Walls(heads, pictures, knowledge, films, trained, random)
    log_width, log_s = walls.complete()
    films["Aex"] = films.get("Aex", np.maximum(films["Keff"], 1e-9) * np.exp(2 * log_width))
    if "D" not in films:
        sigma = np.exp(log_s) * MU0 * films["Ms"] ** 2 * films["thickness"]
        films["D"] = np.asarray(dmi_of_wall_energy(films["Aex"], np.maximum(films["Keff"], 1e-9), sigma))
    walls_fit, drawn = walls.log_weights(log_width, log_s)
    pairs = walls.consistency()
    impossible = films["D"] < 0
    for picture in pictures:
        impossible |= _beyond(np.exp(log_width) / picture.pixel, trained.delta)
    weights = np.where(impossible, -np.inf, walls_fit + drawn)
    return weights + pairs + _log_agreement_of_knowns(knowledge, films), weights, walls_fit + pairs


def _log_agreement_of_knowns(knowledge: Knowledge, films: Mapping[str, Array]) -> Array:
    """Return the log density of the further anisotropies that are given, at the draws."""
    found, Ms = np.zeros(len(films["Ms"])), films["Ms"]
    for name in ("Hk", "Ku1"):
        if name in knowledge.constants and name != knowledge.anisotropy:
            implied = 2 * films["Keff"] / (MU0 * Ms) if name == "Hk" else films["Keff"] + stray_energy(Ms)
            found = found + knowledge.constants[name].log_density(implied)
    return found


class _Walls:
    """The densities of the wall's width and energy that the network gives for draws (n,) of a film's constants."""

    def __init__(
        self,
        heads: Heads,
        pictures: Sequence[SeenPicture],
        knowledge: Knowledge,
        films: Mapping[str, Array],
        trained: Trained,
        random: np.random.Generator,
    ) -> None:
        self.heads, self.pictures, self.films, self.trained = heads, pictures, films, trained
        self.knows_D, self.knows_Aex = "D" in films, "Aex" in films  # those that follow are added to the films
        self.device = pictures[0].features.device
        self.draws = len(films["Ms"])
        self.generator = torch.Generator(self.device).manual_seed(int(random.integers(2**63)))
        self.posteriors, self.priors = [], []
        for picture in pictures:
            nodes = Nodes.of(*self._numbers(picture.pixel))
            known = self._knowns(knowledge, picture.pixel, nodes)
            self.posteriors.append(nodes.draws_of(heads.posterior(picture.features.expand(len(known), -1), known)))
            self.priors.append(nodes.draws_of(heads.prior(known)))
        self.source = torch.arange(self.draws, device=self.device) % len(pictures)  # the picture that a draw is from

    def complete(self) -> tuple[Array, Array]:
        """Return log Δ and log s of the draws: from the constants as far as they are known, or from the pictures."""
        films = self.films
        if self.knows_Aex:
            log_width = np.log(wall_width(films["Aex"], np.maximum(films["Keff"], 1e-9)))
            drawn = [post.sample_second(self._delta(log_width, k), self.generator) for k, post in self._each()]
        else:
            both = [post.sample(1, self.generator)[:, 0] for _, post in self._each()]
            log_pixels = torch.tensor([math.log(p.pixel) for p in self.pictures], device=self.device)
            log_width = self._numpy(self._from_source([y[:, 0] for y in both]) + log_pixels[self.source])
            drawn = [y[:, 1] for y in both]
        if self.knows_D:
            Aex = films.get("Aex", np.maximum(films["Keff"], 1e-9) * np.exp(2 * log_width))
            sigma = wall_energy(Aex, np.maximum(films["Keff"], 1e-9), films["D"])
            return log_width, np.log(np.maximum(sigma, 1e-30) / (MU0 * films["Ms"] ** 2 * films["thickness"]))
        return log_width, self._numpy(self._from_source(drawn))

    def log_weights(self, log_width: Array, log_s: Array) -> tuple[Array, Array]:
        """Return the logarithms of the likelihood, and of the prior over the density from which the draws were made.

        The training's density of what is unknown (of log s, given log δ, where Aex is known) is the prior.
        """
        post, prior = (
            self._log_densities(self.posteriors, log_width, log_s),
            self._log_densities(self.priors, log_width, log_s),
        )
        base, proposals = self._drawn(*prior).mean(0), self._drawn(*post)
        proposal = torch.logsumexp(proposals, 0) - math.log(len(self.pictures))
        return self._numpy(post[0].sum(0) - prior[0].sum(0)), self._numpy(base - proposal)

    def consistency(self) -> Array:
        """Return the logarithm of p(Q1, τ | picture) / π(Q1, τ) of the draws, summed over the pictures."""
        total = torch.zeros(self.draws, dtype=torch.float64, device=self.device)
        for picture in self.pictures:
            total += log_consistency(self.heads, picture, *self._numbers(picture.pixel)).double()
        return total.cpu().numpy()

    def _drawn(self, both: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        """Return the log density, of both numbers and of the first alone, of what was drawn from the pictures."""
        if self.knows_D:
            return torch.zeros_like(first) if self.knows_Aex else first
        return both - first if self.knows_Aex else both

    def _log_densities(
        self, densities: Sequence[Density], log_width: Array, log_s: Array
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logarithms of the densities of (δ, s) and of δ alone, (pictures, n)."""
        second = self._tensor(log_s)
        both, first = [], []
        for k, density in enumerate(densities):
            delta = self._delta(log_width, k)
            both.append(density.log_prob(torch.stack([delta, second], 1)))
            first.append(density.log_prob_first(delta))
        return torch.stack(both).double(), torch.stack(first).double()

    def _each(self) -> list[tuple[int, Density]]:
        return list(enumerate(self.posteriors))

    def _from_source(self, of_pictures: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.stack(list(of_pictures))[self.source, torch.arange(self.draws, device=self.device)]

    def _delta(self, log_width: Array, picture: int) -> torch.Tensor:
        return self._tensor(log_width - math.log(self.pictures[picture].pixel))

    def _numbers(self, pixel: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log Q1 and log τ, clipped to the training's range: draws beyond have no weight."""
        Q1 = np.clip(self.films["Keff"] / stray_energy(self.films["Ms"]), *self.trained.Q1)
        tau = np.clip(self.films["thickness"] / pixel, *self.trained.tau)
        return self._tensor(np.log(Q1)), self._tensor(np.log(tau))

    def _knowns(self, knowledge: Knowledge, pixel: float, nodes: Nodes) -> Knowns:
        count = len(nodes.log_Q1)
        kinds = [
            _index(KINDS, knowledge.dmi),
            _index(HISTORIES, knowledge.history),
            _index(self.trained.instruments, knowledge.instrument),
        ]
        resolution = math.nan if knowledge.resolution is None else math.log(knowledge.resolution / pixel)
        dmi, history, instrument = (torch.full((count,), kind, device=self.device) for kind in kinds)
        log_resolution = torch.full((count,), resolution, device=self.device)
        return Knowns(nodes.log_Q1, nodes.log_tau, dmi, history, instrument, log_resolution)

    def _tensor(self, values: Array) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)

    @staticmethod
    def _numpy(values: torch.Tensor) -> Array:
        return values.double().cpu().numpy()


def log_consistency(heads: Heads, picture: SeenPicture, log_Q1: torch.Tensor, log_tau: torch.Tensor) -> torch.Tensor:
    """Return log p(Q1, τ | picture) / π(Q1, τ), (n,)."""
    pairs = torch.stack([log_Q1, log_tau], 1)
    return heads.consistency(picture.features).log_prob(pairs) - heads.consistency_prior().log_prob(pairs)


def _index(choices: Sequence[str], value: str | None) -> int:
    return -1 if value is None else choices.index(value)


def _log_mean(logs: Array) -> float:
    top = float(logs.max())
    return max(EVIDENCE_TAIL, top + math.log(float(np.exp(logs - top).mean()))) if math.isfinite(top) else EVIDENCE_TAIL


def _systematic(weights: Array, count: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Return indices of `count` draws in proportion to the weights, shuffled."""
    places = (np.arange(count) + random.uniform()) / count
    chosen = np.minimum(np.searchsorted(np.cumsum(weights), places), len(weights) - 1)
    random.shuffle(chosen)
    return chosen


def _nothing_fits(
    films: Mapping[str, Array], pictures: Sequence[SeenPicture], trained: Trained, outside: Mapping[str, float]
) -> str:
    """Return why all draws have the weight 0."""
    Q1 = float(np.median(films["Keff"] / stray_energy(films["Ms"])))
    if Q1 <= 0:
        return "Keff = Ku1 - mu0 Ms^2 / 2 is not above 0: the film lies in the plane and has no such domains"
    if outside["Q1"] > 0.5:
        return "Keff / (mu0 Ms^2 / 2) = {:.3g} lies outside the {:.3g} to {:.3g} of the training".format(
            Q1, *trained.Q1
        )
    if outside["tau"] > 0.5:
        tau = float(np.median(films["thickness"])) / pictures[0].pixel
        return "thickness: {:.3g} pixels of the network's view, and the training had {:.3g} to {:.3g}".format(
            tau, *trained.tau
        )
    if outside["d"] > 0.5:
        return (
            f"D is above {trained.d:.3g} of the critical D: walls cost next to nothing there, and how far D is above "
            "it cannot be told; or picture and constants contradict each other"
        )
    if outside["t_over_wall_width"] > 0.5:
        ratio = float(np.median(films["thickness"] / wall_width(films["Aex"], np.maximum(films["Keff"], 1e-9))))
        return "thickness: {:.3g} widths of a wall, sqrt(Aex / Keff), and the training had {:.3g} to {:.3g}".format(
            ratio, *trained.t_over_wall_width
        )
    return "no film of the training has these constants and this picture; check the constants and the scale"


@dataclass(frozen=True)
class Estimate:
    """A constant's median with the ends of its 68 and 95 % intervals, SI; `error` is half of the 68 % interval."""

    value: float
    error: float
    low68: float
    high68: float
    low95: float
    high95: float
    unit: str


@dataclass(frozen=True)
class Stretch:
    """The factors by which intervals must be wider than the samples, by a number `at` (ascending) of the film."""

    at: tuple[float, ...] = (0.0,)
    factors68: tuple[float, ...] = (1.0,)
    factors95: tuple[float, ...] = (1.0,)

    def __call__(self, number: float) -> tuple[float, float]:
        """Return the factors of the 68 and the 95 % interval."""
        return float(np.interp(number, self.at, self.factors68)), float(np.interp(number, self.at, self.factors95))


def estimate_of(values: Array, unit: str, factors: tuple[float, float] = (1.0, 1.0), top: float = math.inf) -> Estimate:
    """Return median and intervals of samples, stretched about the median by `factors`, within 0…`top`."""
    low95, low68, median, high68, high95 = np.quantile(values, list(LEVELS.values())).tolist()

    def stretched(end: float, factor: float) -> float:
        return float(min(max(median + factor * (end - median), 0.0), max(top, median)))

    low68, high68 = stretched(low68, factors[0]), stretched(high68, factors[0])
    low95, high95 = min(low68, stretched(low95, factors[1])), max(high68, stretched(high95, factors[1]))
    return Estimate(median, (high68 - low68) / 2, low68, high68, low95, high95, unit)


def asked_of(knowledge: Knowledge) -> tuple[str, ...]:
    """Return the names of the constants that are asked for: D and Aex unless known, and what else is not known.

    A range of D or of Aex is what is expected before the picture is seen, and the picture narrows it.
    """
    known = knowledge.constants
    further = [name for name in ("Ms", "thickness") if name not in known]
    anisotropy = ["Keff"] if knowledge.anisotropy is None else []
    return (
        *(name for name in ("D", "Aex") if name not in known or isinstance(known[name], Range)),
        *further,
        *anisotropy,
    )


def error_budget(
    heads: Heads,
    pictures: Sequence[SeenPicture],
    knowledge: Knowledge,
    trained: Trained,
    samples: Samples,
    estimates: Mapping[str, Estimate],
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Return the shares of the error of each estimate: of the picture, and of each known that has an error; SI.

    A share is what the variance loses when this known is frozen at its posterior median; the picture's is the variance
    that is left when all are frozen. Squares of the shares add up to the square of the error.
    """
    inputs = [name for name, known in knowledge.constants.items() if known.spread > 0 and name not in estimates]
    medians = {name: float(np.median(_values_of(samples.constants, name))) for name in inputs}
    everything = _variances(heads, pictures, knowledge, trained, estimates, seed)
    left = _variances(heads, pictures, knowledge.frozen(medians), trained, estimates, seed) if inputs else everything
    one = {
        name: _variances(heads, pictures, knowledge.frozen({name: medians[name]}), trained, estimates, seed)
        for name in inputs
    }
    return {asked: _shares(asked, estimate, everything, left, one) for asked, estimate in estimates.items()}


def _shares(
    asked: str,
    estimate: Estimate,
    everything: Mapping[str, float],
    left: Mapping[str, float],
    one: Mapping[str, Mapping[str, float]],
) -> dict[str, float]:
    parts = {"picture": left[asked]}
    parts |= {name: max(0.0, everything[asked] - variances[asked]) for name, variances in one.items()}
    total = sum(parts.values())
    return {name: estimate.error * math.sqrt(part / total) if total > 0 else 0.0 for name, part in parts.items()}


def _variances(
    heads: Heads,
    pictures: Sequence[SeenPicture],
    knowledge: Knowledge,
    trained: Trained,
    asked: Mapping[str, Estimate],
    seed: int,
) -> dict[str, float]:
    """Return robust variances, from the 68 % interval, of the constants asked for."""
    found = _sample(heads, pictures, knowledge, trained, BUDGET_DRAWS, seed).constants
    quantiles = {name: np.quantile(_values_of(found, name), [0.16, 0.84]) for name in asked}
    return {name: float((high - low) ** 2 / 4) for name, (low, high) in quantiles.items()}


def _values_of(constants: Mapping[str, Array], name: str) -> Array:
    if name == "Ku1":
        return np.asarray(constants["Keff"] + stray_energy(constants["Ms"]))
    return 2 * constants["Keff"] / (MU0 * constants["Ms"]) if name == "Hk" else constants[name]
