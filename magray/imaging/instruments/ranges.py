"""The ranges that an instrument's parameters are drawn from, one value for each picture."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Protocol, Self, get_type_hints

import torch

from magray.errors import UserError
from magray.imaging.instruments.magnetisation import Magnetisation

Interval = tuple[float, float]
"""The smallest and the largest value, SI."""


class Instrument(Protocol):
    """An instrument with the parameters of n pictures."""

    @property
    def resolution(self) -> torch.Tensor:
        """The length (n,), m, that limits what it resolves; RESOLUTIONS says which."""
        ...

    def signal(self, film: Magnetisation) -> torch.Tensor:
        """Return what the probe senses over films, (n, h, w) on their cells, in physical units."""
        ...

    def measured(self, picture: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Return signals (n, h, w) on the pixels of a picture with what detector and scan add to them."""
        ...


@dataclass(frozen=True)
class Drawn:
    """How a parameter is drawn. log: evenly in its logarithm. signed: of either sign."""

    dimension: str
    log: bool = False
    signed: bool = False


Length = Annotated[Interval, Drawn("length")]
Angle = Annotated[Interval, Drawn("angle")]
Ratio = Annotated[Interval, Drawn("ratio")]
Log = Annotated[Interval, Drawn("ratio", log=True)]


@dataclass(frozen=True)
class Ranges(ABC):
    """The base of all ranges: each field is an `Interval`, annotated with how it is drawn."""

    def __post_init__(self) -> None:
        """Raise UserError for a range that is none."""
        for name, how in self.parameters().items():
            low, high = getattr(self, name)
            if not low <= high or (how.log and not low > 0):
                above = ", above 0" if how.log else ""
                raise UserError(f"{name}: give [smallest, largest]{above}, not {[low, high]}")

    @classmethod
    @cache
    def parameters(cls) -> dict[str, Drawn]:
        """Return how each parameter is drawn, by name."""
        return {name: hint.__metadata__[0] for name, hint in get_type_hints(cls, include_extras=True).items()}

    @property
    def oblique(self) -> bool:
        """Whether the instrument also sees components in the plane."""
        return False

    @abstractmethod
    def draw(
        self, count: int, generator: torch.Generator | None = None, device: torch.device | None = None
    ) -> Instrument:
        """Return an instrument with parameters for `count` pictures."""

    def values(
        self, count: int, generator: torch.Generator | None = None, device: torch.device | None = None
    ) -> dict[str, torch.Tensor]:
        """Return draws (count,) of all parameters, by name."""
        found = {}
        for name, how in self.parameters().items():
            low, high = getattr(self, name)
            drawn, sign = torch.rand(2, count, generator=generator, device=device)
            value = low * (high / low) ** drawn if how.log else low + (high - low) * drawn
            found[name] = torch.where(sign < 0.5, -value, value) if how.signed else value
        return found

    @classmethod
    def at(cls, **values: float) -> Self:
        """Return ranges in which these parameters have one value each."""
        return cls(**{name: (value, value) for name, value in values.items()})


def white(like: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """Return white noise of a standard deviation of 1, of the shape of `like`."""
    return torch.randn(like.shape, generator=generator, device=like.device)
