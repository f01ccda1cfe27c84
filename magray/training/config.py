"""The configuration of a training run: the part of a fit's config that workers need, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from magray.config import ScaleSet
from magray.imaging.microscope import Microscope


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a fit that decide its network, pictures and steps; `magray.config.FitConfig` explains them.

    views_per_epoch: random crops at each scale; None: every square that tiles every film, in all its orientations.
    scales_drawn: "listed" scales only, or any whole number of cells "between" the smallest and the largest.
    """

    epochs: int
    learning_rate: float
    views_per_epoch: int | None = None
    scales_drawn: Literal["listed", "between"] = "listed"
    symmetries: Literal["rotations", "all"] = "rotations"
    network: Literal["paper", "scale-aware"] = "paper"
    width: float = 1.0
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    batch: int = 128
    weight_decay: float = 0.0
    seed: int = 0
    checkpoint_epochs: int = 5
    microscope: Microscope | None = None

    def drawn_from(self, train_set: ScaleSet) -> "TrainConfig":
        """Return the config for a set of scales, or for a range: any scale in it, with a scale-aware network."""
        if train_set.is_range:
            return replace(self, scales_drawn="between", network="scale-aware")
        return replace(self, scales_drawn="listed", network="paper")

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "TrainConfig":
        """Return the part of a fit's config, a mapping, that workers need."""
        known = {field.name: config[field.name] for field in fields(cls) if field.name in config}
        if (microscope := known.get("microscope")) is not None:
            blur_nm = tuple(length * 1e9 for length in microscope["blur"])
            known["microscope"] = Microscope(blur_nm, tuple(microscope["noise"]), tuple(microscope["blur_pixels"]))
        return cls(**known)
