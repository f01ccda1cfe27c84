"""Draw pictures of films through instruments, with the numbers that are known and sought of them."""

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, fields

import torch

from magray.imaging import VIEW_SIZE
from magray.network.any_film import UNKNOWN, Knowns
from magray.network.execution import ExecutionConfig
from magray.training.any_film.films import FilmSet
from magray.training.any_film.instruments import HALVES, InstrumentShare, pictures_through
from magray.training.any_film.views import random_geometry, reach_of, views_of

Range = tuple[float, float]


@dataclass
class Pictures:
    """Pictures (n, 128, 128) and their films' numbers (n,), in pixels. resolution: NaN for instruments without one."""

    views: torch.Tensor
    Q1: torch.Tensor
    tau: torch.Tensor
    delta: torch.Tensor
    d: torch.Tensor
    dmi: torch.Tensor
    history: torch.Tensor
    instrument: torch.Tensor
    resolution: torch.Tensor
    in_window: torch.Tensor  # whether the film has walls, and a period of at most a third of the film

    def __len__(self) -> int:
        return len(self.Q1)

    @property
    def s(self) -> torch.Tensor:
        """The energy of a wall over that of the stray field."""
        return 2 * self.delta / self.tau * (1 - self.d) * self.Q1

    def sought(self) -> torch.Tensor:
        """Return log δ and log s, (n, 2)."""
        return torch.stack([self.delta.log(), self.s.log()], 1)

    def knowns(
        self,
        dmi: torch.Tensor | bool = True,
        history: torch.Tensor | bool = True,
        resolution: torch.Tensor | bool = True,
    ) -> Knowns:
        """Return what the network is told. dmi, history, resolution: whether they are, of each picture or of all."""
        return Knowns(
            self.Q1.log(),
            self.tau.log(),
            _told(self.dmi, dmi, UNKNOWN),
            _told(self.history, history, UNKNOWN),
            self.instrument,
            _told(self.resolution.log(), resolution, torch.nan),
        )

    def some(self, which: torch.Tensor) -> "Pictures":
        """Return some of the pictures: a mask or places."""
        return Pictures(*(getattr(self, field.name)[which] for field in fields(self)))

    @staticmethod
    def joined(parts: Sequence["Pictures"]) -> "Pictures":
        """Return all pictures of some parts."""
        return Pictures(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Pictures)))


class Sampler:
    """Draws pictures of sets of films, each set in proportion to the area of its films, through `instruments`."""

    def __init__(
        self, films: Sequence[FilmSet], execution: ExecutionConfig, instruments: Sequence[InstrumentShare] = HALVES
    ) -> None:
        self.films, self.instruments = list(films), list(instruments)
        self.device = films[0].images.device
        self.pixels = [pixel_range(one.side) for one in films]
        self.views = [views_of(self.device, reach_of(high), execution) for _, high in self.pixels]
        areas = torch.tensor([len(one.train) * one.side**2 for one in films], dtype=torch.float64)
        self.shares = (areas / areas.sum()).tolist()
        self.in_window = [one.has_walls() & (one.period() <= one.side / 3) for one in films]

    def through(self, instruments: Sequence[InstrumentShare]) -> "Sampler":
        """Return a sampler of the same films, through other instruments."""
        other = copy(self)
        other.instruments = list(instruments)
        return other

    def train(self, count: int) -> Pictures:
        """Return new pictures of films to train with: always the same number of each set and instrument."""
        parts, seen = [], [one.share for one in self.instruments]
        for place, mine in enumerate(divided(count, self.shares)):
            films = self.films[place].train
            for instrument, some in enumerate(divided(mine, seen)):
                if some:
                    drawn = (torch.rand(some, device=self.device) * len(films)).long().clamp(max=len(films) - 1)
                    parts.append(self.pictures(place, films[drawn], instrument))
        return Pictures.joined(parts)

    def pictures(self, place: int, index: torch.Tensor, instrument: int) -> Pictures:
        """Return a new picture of each of some films of a set, through one of the instruments."""
        films = self.films[place]
        low, high = self.pixels[place]
        pixel = low * torch.exp(torch.rand(len(index), device=self.device) * math.log(high / low))
        geometry = random_geometry(pixel, films.side)
        views, resolution = pictures_through(self.instruments[instrument], self.views[place], films, index, geometry)
        columns = (films.Q1, films.thickness, films.wall_width, films.d, films.dmi, films.history)
        Q1, thickness, width, d, dmi, history = (column[index] for column in columns)
        in_window = self.in_window[place][index]
        seen = torch.full_like(index, instrument)
        lengths = (thickness / pixel, width / pixel, d, dmi, history, seen, resolution / pixel)
        return Pictures(views, Q1, *lengths, in_window)

    def held_out(self, part: str, instrument: int, times: int = 1, seed: int = 0, size: int = 512) -> Pictures:
        """Return `times` pictures of each film of a part, "calibration" or "test"; the seed decides the pictures."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            parts = [
                self.pictures(place, some, instrument)
                for place, one in enumerate(self.films)
                for _ in range(times)
                for some in torch.split(getattr(one, part), size)
            ]
        return Pictures.joined(parts)


def divided(count: int, shares: Sequence[float]) -> list[int]:
    """Return whole numbers in proportion to shares, which add up to `count`."""
    parts: list[int] = []
    for share in shares[:-1]:
        parts.append(min(round(share * count), count - sum(parts)))
    return [*parts, count - sum(parts)]


def pixel_range(side: int) -> Range:
    """Return the smallest and the largest pixel, in cells, of the views of films so many cells wide."""
    largest = side / VIEW_SIZE
    return min(1.0, largest / 2), largest


def _told(values: torch.Tensor, told: torch.Tensor | bool, unknown: float) -> torch.Tensor:
    if isinstance(told, bool):
        return values if told else torch.full_like(values, unknown)
    return torch.where(told, values, unknown)
