"""Measure the any-film estimator: errors, coverage and ranks on films and pictures that it has never seen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from magray.films.design import HISTORIES, KINDS
from magray.imaging.microscope import InstrumentRanges
from magray.network.any_film import AnyFilmNetwork, AnyFilmSettings
from magray.network.execution import ExecutionConfig
from magray.training.any_film.films import DEEPEST
from magray.training.any_film.fit import standardise
from magray.training.any_film.intervals import Answers, Intervals, answers, stretched
from magray.training.any_film.sampler import Pictures, Sampler
from magray.training.any_film.trainer import AnyFilmTrainer, AnyFilmTraining

SEEDS = (1, 2)  # of the test pictures
TIMES = 2  # pictures of each test film and seed
DECILES, RANK_BINS = 10, 20
LEAST_PICTURES = 20  # of a group that is scored
QUANTITIES = ("D, Aex known", "D, Aex unknown", "wall width")
BASELINE_WIDTH = 8  # of a picture's two numbers' first layer, which stands in the place of the body


class _TwoNumbers(AnyFilmNetwork):
    """The baseline: what the network knows of a picture are its mean wave number and its density of walls."""

    def __init__(self, settings: AnyFilmSettings) -> None:
        super().__init__(settings)
        self.layers = nn.Sequential()
        self.numbers = nn.Linear(2, self.size)

    def features(self, views: torch.Tensor) -> torch.Tensor:
        """Return features (n, size) that follow from two numbers."""
        with torch.autocast(views.device.type, enabled=False):  # bfloat16 would know them to 0.4 % only
            return torch.relu(self.numbers(_two_numbers(views)))


def _two_numbers(views: torch.Tensor) -> torch.Tensor:
    """Return the logarithms of the mean wave number and of the density of walls (n, 2) of views, about standardised."""
    views = views.float()
    side = views.shape[-1]
    power = torch.fft.rfft2(views).abs().square()
    along = torch.arange(side // 2 + 1, device=views.device)
    across = torch.arange(side, device=views.device)
    across = torch.where(across < side // 2, across, across - side)
    k = (along.square() + across[:, None].square()).float().sqrt()
    power = power * ((k > 0.5) & (k < 0.3 * side))
    mean = (power * k).sum((1, 2)) / power.sum((1, 2)).clamp(min=1e-9)
    up = views > 0
    walls = (up[:, 1:] != up[:, :-1]).float().mean((1, 2)) + (up[:, :, 1:] != up[:, :, :-1]).float().mean((1, 2))
    return torch.stack([mean.clamp(min=1e-3).log() - 2, (walls + 1e-3).log() + 3], 1)


@dataclass
class Tested:
    """Pictures with what is said of them, calibrated: an interval and the truth for each of QUANTITIES."""

    pictures: Pictures
    intervals: dict[str, Intervals]
    truths: dict[str, torch.Tensor]
    log_density: torch.Tensor

    @classmethod
    def of(cls, pictures: Pictures, said: Answers, factors: dict[str, Any]) -> "Tested":
        """Stretch the answers by the calibration's factors."""
        raw = dict(zip(QUANTITIES, (said.d_aex_known, said.d_aex_unknown, said.delta), strict=True))
        truths = dict(zip(QUANTITIES, (pictures.d, pictures.d, pictures.delta), strict=True))
        most = dict(zip(QUANTITIES, (DEEPEST, DEEPEST, torch.inf), strict=True))
        intervals = {name: stretched(raw[name], factors[name], most[name]) for name in QUANTITIES}
        return cls(pictures, intervals, truths, said.log_density)

    def scores(self, which: torch.Tensor) -> dict[str, Any]:
        """Return the scores of some pictures."""
        scores: dict[str, Any] = {"pictures": int(which.sum()), "log_density": float(self.log_density[which].mean())}
        for name in QUANTITIES:
            found, truth = self.intervals[name].some(which), self.truths[name][which]
            scores[name] = errors(found, truth, relative=name == "wall width")
        return scores


def errors(found: Intervals, truth: torch.Tensor, relative: bool) -> dict[str, float]:
    """Return mean and median absolute error, R² and coverage; relative: errors over the truth."""
    error = (found.median - truth).abs()
    variance = float(truth.var()) if len(truth) > 1 else float("nan")
    r2 = 1 - float((found.median - truth).square().mean()) / max(variance, 1e-12)
    error = error / truth if relative else error
    bar = (found.high68 - found.low68) / 2
    measured = {
        "MAE": float(error.mean()),
        "median": float(error.median()),
        "R2": r2,
        "bar": float((bar / truth if relative else bar).median()),
    }
    return measured | coverage(found, truth)


def coverage(found: Intervals, truth: torch.Tensor) -> dict[str, float]:
    """Return the shares of truths within the 68 and the 95 % intervals."""
    inside68 = (truth >= found.low68) & (truth <= found.high68)
    inside95 = (truth >= found.low95) & (truth <= found.high95)
    return {"in68": float(inside68.float().mean()), "in95": float(inside95.float().mean())}


@torch.no_grad()
def evaluate(
    network: AnyFilmNetwork, sampler: Sampler, calibration: dict[str, Any], execution: ExecutionConfig
) -> dict[str, Any]:
    """Return the scores of each instrument, seed and group of films; what is told is the history, or not."""
    results: dict[str, Any] = {}
    for name, drawn, place in _tests(sampler):
        factors = calibration[drawn.instruments[place].name]
        for seed in SEEDS:
            pictures = drawn.held_out("test", place, TIMES, seed)
            for told in (True, False):
                said = answers(network, pictures, execution, history=told, resolution=told)
                tested = Tested.of(pictures, said, factors)
                title = f"{name}, history {'told' if told else 'unknown'}, seed {seed}"
                results[title] = {
                    "groups": {group: tested.scores(which) for group, which in groups(pictures).items()},
                    "deciles": _deciles(tested),
                    "ranks": ranks(said),
                }
    return results


def _tests(sampler: Sampler) -> Iterator[tuple[str, Sampler, int]]:
    """Yield a name of each test, who draws its pictures, and the place of the instrument there.

    Where some of an instrument's pictures have been through a program, there is a test of those that have not, too.
    """
    for place, one in enumerate(sampler.instruments):
        name = "as they are" if one.name == "none" else one.name
        if not (isinstance(one.ranges, InstrumentRanges) and one.ranges.processed):
            yield name, sampler, place
            continue
        plain = [*sampler.instruments]
        plain[place] = replace(one, ranges=replace(one.ranges, processed=0.0))
        yield name, sampler.through(plain), place
        yield f"{name}, some processed", sampler, place


def groups(pictures: Pictures) -> dict[str, torch.Tensor]:
    """Return the groups of pictures that are scored: those of films whose domains the window holds, and parts."""
    inside = pictures.in_window
    found = {"in the window": inside, "all": torch.ones_like(inside), "beyond the window": ~inside}
    found |= {kind: inside & (pictures.dmi == place) for place, kind in enumerate(KINDS)}
    found |= {history: inside & (pictures.history == place) for place, history in enumerate(HISTORIES)}
    return {name: which for name, which in found.items() if int(which.sum()) >= LEAST_PICTURES}


def _deciles(tested: Tested) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Return coverage and error in each tenth of the pictures, ordered by each true number, or by the answer.

    Where a picture says little of a number, even perfect bars cover no true value at the ends of the trained range, and
    all in its middle. Ordered by the answer, they cover the same share in every tenth.
    """
    inside = tested.pictures.in_window
    pictures = tested.pictures.some(inside)
    numbers = {"Q1": pictures.Q1, "tau": pictures.tau, "d": pictures.d, "delta": pictures.delta}
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for name in QUANTITIES:
        intervals, truth = tested.intervals[name].some(inside), tested.truths[name][inside]
        found[name] = {
            by: [
                {"from": float(values[part].min())}
                | errors(intervals.some(part), truth[part], relative=name == "wall width")
                for part in values.argsort().tensor_split(DECILES)
                if len(part)
            ]
            for by, values in (numbers | {"answer": intervals.median}).items()
        }
    return found


def ranks(said: Answers) -> dict[str, list[int]]:
    """Return histograms of the truth's rank in the posterior, even if it is right (Talts et al., arXiv:1804.06788)."""
    found = dict(zip(QUANTITIES, (said.d_aex_known, said.d_aex_unknown, said.delta), strict=True))
    return {name: torch.histc(one.rank.float().cpu(), RANK_BINS, 0, 1).int().tolist() for name, one in found.items()}


def baseline(
    sampler: Sampler,
    settings: AnyFilmSettings,
    training: AnyFilmTraining,
    calibrate: Callable[[AnyFilmNetwork, Sampler, ExecutionConfig], dict[str, Any]],
    execution: ExecutionConfig,
    say: Callable[[str], object],
) -> dict[str, Any]:
    """Return the scores of a network that is told two numbers of each picture, trained on as many films."""
    torch.manual_seed(training.seed)
    instruments = tuple(one.name for one in sampler.instruments)
    settings = replace(settings, width=BASELINE_WIDTH / 32, instruments=instruments)
    network = _TwoNumbers(settings).to(sampler.device)
    standardise(network, sampler, training.batch)
    AnyFilmTrainer(network, sampler, training, execution).train(say)
    return evaluate(network, sampler, calibrate(network, sampler, execution), execution)


def summary_lines(results: dict[str, Any]) -> list[str]:
    """Return lines of text with the main scores."""
    head = "D/Dc with Aex known | with Aex unknown | wall width, %: each MAE, median, and coverage of 68 and 95 % bars"
    lines = [head]
    for title, found in results.items():
        lines.append(title)
        lines += [f"  {group:20s}{_row(scores)}" for group, scores in found["groups"].items()]
        for name, by_number in found["deciles"].items():
            worst = [(by, [row["in68"] for row in rows]) for by, rows in by_number.items()]
            parts = (f"{by} {min(shares):.2f} to {max(shares):.2f}" for by, shares in worst)
            lines.append(f"    68 % bars of {name} by decile: " + ", ".join(parts))
    return lines


def _row(scores: dict[str, Any]) -> str:
    cells = []
    for name in QUANTITIES:
        one, unit, digits = scores[name], 100 if name == "wall width" else 1, 2 if name == "wall width" else 3
        errors_ = f"{unit * one['MAE']:6.{digits}f} {unit * one['median']:6.{digits}f}"
        cells.append(f"{errors_} {one['in68']:.2f} {one['in95']:.2f}")
    return " | ".join(cells) + f"   n {scores['pictures']}"
