"""An estimator's metadata: its targets, the films it was trained on, and its calibrated errors."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field, TypeAdapter

from magray.config.fit import Width
from magray.config.scales import SAME_SCALE, ScaleSet
from magray.errors import UserError
from magray.files.records import Finite, NotNegative, Positive, Text, read_record
from magray.films.origin import protocol_or_origin
from magray.imaging.microscope import Microscope
from magray.network.branches import NetworkName
from magray.units import practical

FORMAT = 7
MAX_TARGETS = 16
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_/]*$", max_length=32)]  # of a parameter or unit
Count = Annotated[int, Field(ge=0, lt=2**63)]
ROUNDING = 1e-9  # relative difference of constants that are equal but for their conversion from text


@dataclass(frozen=True)
class Target:
    """A parameter that the network estimates, with statistics of its values in the training films, SI.

    The network's output is (value − mean) / spread; spread is the standard deviation.
    """

    name: Name
    unit: Name
    mean: Finite
    spread: Positive
    low: Finite
    high: Finite


@dataclass(frozen=True)
class ParameterRange:
    """The range, low…high, SI, of a constant over the training films. name: of the store's column."""

    name: Name
    unit: Name
    low: Finite
    high: Finite

    def __str__(self) -> str:
        low, high = (practical(value, None, self.unit) for value in (self.low, self.high))
        return f"{self.name} {low}" if low == high else f"{self.name} {low.split()[0]} to {high}"


def standardised(values: NDArray[np.float64], targets: Sequence[Target]) -> torch.Tensor:
    """Return standardised targets (n, targets), float32, of `values` (n, targets), SI."""
    means, stds = means_and_stds(targets)
    return torch.from_numpy((values - means) / stds).float()


@dataclass(frozen=True)
class Calibration:
    """Errors measured on films that the fit never saw, at each of `scales_um` (ascending), by target.

    errors: target name -> for each scale, the error bar of one view: 68 % of the errors are at most this, SI. films:
    number of films. several: target name -> for each scale, (shrinkage correction, error bar) of the mean over 2, 4,
    8, … views of a film, as far as films have so many.

    Shrinkage: the less information a picture has, the more its estimate is biased toward the mean of the training
    films. The mean over several pictures has more information than each of them but the same bias, and is rescaled: its
    distance from the training mean is multiplied by the correction.
    """

    scales_um: tuple[Positive, ...]
    errors: Mapping[str, tuple[NotNegative, ...]]
    films: Count
    several: Mapping[str, tuple[tuple[tuple[Finite, NotNegative], ...], ...]] = field(default_factory=dict)

    def error(self, target: str, scale_um: float | None, pictures: int = 1) -> float:
        """Return the error bar at `scale_um`, interpolated; the largest of all if it is unknown or not calibrated."""
        return self._shrinkage_and_error(target, scale_um, pictures)[1]

    def shrinkage(self, target: str, scale_um: float | None, pictures: int = 1) -> float:
        """Return the shrinkage correction for a mean of `pictures`; 1 outside the calibrated scales."""
        return self._shrinkage_and_error(target, scale_um, pictures)[0]

    def max_pictures(self, scale_um: float | None) -> int:
        """Return the largest number of pictures of one film that was calibrated."""
        if scale_um is None or not self.covers(scale_um) or not self.several:
            return 1
        at_scales = next(iter(self.several.values()))
        return int(2 ** int(np.interp(scale_um, self.scales_um, [len(levels) for levels in at_scales])))

    def covers(self, scale_um: float) -> bool:
        """Return whether `scale_um` lies within the calibrated scales."""
        return self.scales_um[0] * (1 - SAME_SCALE) <= scale_um <= self.scales_um[-1] * (1 + SAME_SCALE)

    def _shrinkage_and_error(self, target: str, scale_um: float | None, pictures: int) -> tuple[float, float]:
        """Return both, interpolated over scales and the logarithm of the number of pictures."""
        errors = self.errors[target]
        if scale_um is None or not self.covers(scale_um):
            return 1.0, max(errors)
        level, at_scales = math.log2(pictures), []
        for error, levels in zip(errors, self.several.get(target, ((),) * len(errors)), strict=True):
            both = zip((1.0, error), *levels, strict=True)  # corrections, errors; beyond the last as at the last
            at_scales.append([np.interp(level, range(1 + len(levels)), numbers) for numbers in both])
        shrinkage, bar = (
            float(np.interp(scale_um, self.scales_um, numbers)) for numbers in zip(*at_scales, strict=True)
        )
        return shrinkage, bar


@dataclass(frozen=True)
class EstimatorMetadata:
    """All of an estimator but its weights.

    provenance: for people; the code does not read it. width: factor of the paper's numbers of filters. between: whether
    it was trained at all scales between the outermost of `train_scales_um`, not at the listed ones only. microscope:
    through which films were seen; None: as they are. constants, protocols (by `Protocol.to_json`): of the training
    films; missing in older formats.
    """

    targets: Annotated[tuple[Target, ...], Field(min_length=1, max_length=MAX_TARGETS)]
    train_scales_um: Annotated[tuple[Positive, ...], Field(min_length=1)]
    training_films: Count
    calibration: Calibration
    provenance: Mapping[str, Any]
    network: NetworkName = "paper"
    width: Width = 1.0
    between: bool = False
    microscope: Microscope | None = None
    constants: tuple[ParameterRange, ...] = ()
    protocols: tuple[Text, ...] = ()

    @property
    def films(self) -> str:
        """Return a description of the training films, to which estimates are limited."""
        seen = "as they are" if self.microscope is None else f"through {self.microscope}"
        constants = ", ".join(map(str, self.constants)) or "unrecorded constants"
        protocols = " or ".join(str(protocol_or_origin(text)) for text in self.protocols) or "an unrecorded protocol"
        return f"{self.training_films:,} films, seen {seen}: {constants}; {protocols}"

    def knows(self, film: Mapping[str, float]) -> bool:
        """Return whether a film with these constants, SI, lies within the ranges of the training films."""
        return bool(self.constants) and all(
            constant.low * (1 - ROUNDING) <= film[constant.name] <= constant.high * (1 + ROUNDING)
            for constant in self.constants
        )

    def trained_at(self, scale_um: float) -> bool:
        """Return whether the network was trained at this scale."""
        return ScaleSet(self.train_scales_um, self.between).contains(scale_um)


def read_metadata(path: Path) -> EstimatorMetadata:
    """Return the metadata in a file; fields that older formats lack have defaults, which apply to all older estimators.

    Raises UserError if the format is newer, or the file does not describe an estimator.
    """
    problem = "does not describe an estimator"
    version = read_record(path, TypeAdapter(_Format), problem).format
    if version > FORMAT:
        raise UserError(f"{path}: format {version} is newer than this magray reads ({FORMAT}); update magray")
    metadata = read_record(path, TypeAdapter(EstimatorMetadata), problem)
    try:
        _check(metadata)
        protocols = tuple(protocol_or_origin(text).to_json() for text in metadata.protocols)
        metadata = replace(metadata, protocols=protocols)
        assert metadata.films  # every answer needs it, so that an error should be raised now
    except (UserError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} {problem} ({error})") from error
    return metadata


class _Format(BaseModel):
    format: int


def _check(metadata: EstimatorMetadata) -> None:
    """Raise ValueError unless the parts of the metadata agree."""
    names, calibration = {target.name for target in metadata.targets}, metadata.calibration
    if len(names) < len(metadata.targets):
        raise ValueError("targets: one is there twice")
    ranges: tuple[Target | ParameterRange, ...] = (*metadata.targets, *metadata.constants)
    for one in ranges:
        if one.low > one.high:
            raise ValueError(f"{one.name}: low is above high")
    for scales in (metadata.train_scales_um, calibration.scales_um):
        if not scales or list(scales) != sorted(set(scales)):
            raise ValueError("scales are not in ascending order")
    for kind, by_target in (("errors", calibration.errors), ("several", calibration.several)):
        if by_target.keys() != names and (kind == "errors" or by_target):
            raise ValueError(f"calibration.{kind}: not of the same names as targets")
        if any(len(at_scales) != len(calibration.scales_um) for at_scales in by_target.values()):
            raise ValueError(f"calibration.{kind}: not one for each of scales_um")
    microscope = metadata.microscope
    ranges_ok = microscope is None or all(
        0 <= low <= high < math.inf for low, high in (microscope.blur_nm, microscope.noise, microscope.blur_pixels)
    )
    if not ranges_ok:
        raise ValueError("microscope: its ranges must be numbers from 0 on, the lower one first")


def means_and_stds(targets: Sequence[Target]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the means and standard deviations (targets,) of the training values, SI."""
    return np.array([target.mean for target in targets]), np.array([target.spread for target in targets])
