"""The estimator: a trained network with its calibration and metadata, in one folder.

network.safetensors    the weights
pictures.safetensors   statistics of pictures of the training films, to recognise other films; optional
estimator.json         the metadata: targets, training films and scales, calibration, provenance
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from magray.config.scales import SAME_SCALE
from magray.errors import UserError
from magray.estimator.folders import DESCRIPTION, PICTURES, SHIPPED, WEIGHTS, shipped
from magray.estimator.inputs import GivenPicture, check_length, different_pictures, pictures_of
from magray.estimator.metadata import FORMAT, EstimatorMetadata, read_metadata
from magray.estimator.predictor import Predictor
from magray.estimator.trust import DomainPictures, Trust, domain_pictures
from magray.estimator.weights import load_weights, save_weights
from magray.files.atomic import atomic_write
from magray.imaging import (
    VIEW_SIZE,
    area_average,
    check_picture,
    grey_range,
    scale_of,
    tiles,
    to_mz,
)
from magray.imaging.microscope import detrend
from magray.network.branches import NETWORKS
from magray.units import practical

CONTRADICTION = 5.0  # error bars of one picture, between pictures of one film


@dataclass(frozen=True)
class Answer:
    """An estimate: values, 68 % error bars and units by parameter, SI, with warnings.

    trust: "refused" where the picture shows no domains or pictures contradict each other, for the `reasons`, which are
    among the warnings; "doubtful" where there are other warnings. films: a description of the training films; the
    estimate is valid for such films only.

    With one parameter, `value`, `error` and `unit` give it directly. `str` gives the estimate in practical units.
    """

    values: Mapping[str, float]
    errors: Mapping[str, float]
    units: Mapping[str, str]
    warnings: tuple[str, ...]
    films: str
    trust: Trust = "trusted"
    reasons: tuple[str, ...] = ()

    @property
    def value(self) -> float:
        """Return the value of the only parameter, SI. Raises UserError if there are several."""
        return self.values[self._only()]

    @property
    def error(self) -> float:
        """Return the error bar of the only parameter, SI. Raises UserError if there are several."""
        return self.errors[self._only()]

    @property
    def unit(self) -> str:
        """Return the SI unit of the only parameter. Raises UserError if there are several."""
        return self.units[self._only()]

    def __str__(self) -> str:
        return "\n".join(
            f"{name} = {practical(value, self.errors[name], self.units[name])}" for name, value in self.values.items()
        )

    def to_json(self) -> dict[str, Any]:
        """Return the answer in SI units, as JSON has it."""
        parameters = {
            name: {
                "value": value,
                "error": self.errors[name],
                "low68": value - self.errors[name],
                "high68": value + self.errors[name],
                "unit": self.units[name],
            }
            for name, value in self.values.items()
        }
        return {"parameters": parameters, "trust": self.trust, "reasons": list(self.warnings)}

    def _only(self) -> str:
        if len(self.values) > 1:
            raise UserError(f"this answer holds {', '.join(self.values)}; read .values and .errors by name")
        return next(iter(self.values))


class Estimator(Predictor):
    """A predictor with error bars, which estimates the parameters of a film from pictures of its domains."""

    def __init__(self, network: nn.Module, metadata: EstimatorMetadata, pictures: DomainPictures | None = None) -> None:
        super().__init__(network, metadata.targets, metadata.microscope)
        self.metadata, self.pictures = metadata, pictures

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> "Estimator":
        """Load an estimator from the folder that `save` wrote, or a pretrained one by its name.

        "co-like" is a name; "./co-like" and a `Path` are folders. Raises UserError if the folder is missing or damaged,
        or has a newer format.
        """
        folder = SHIPPED / folder if isinstance(folder, str) and folder in shipped() else Path(folder)
        metadata = read_metadata(_existing(folder, DESCRIPTION))
        network = NETWORKS[metadata.network](len(metadata.targets), metadata.width)
        load_weights(network, _existing(folder, WEIGHTS))
        pictures = DomainPictures.load(folder / PICTURES) if (folder / PICTURES).is_file() else None
        return cls(network.to(device), metadata, pictures)

    def save(self, folder: str | Path) -> None:
        """Write the estimator to `folder`: weights first, so that a folder with metadata is complete."""
        folder = Path(folder)
        save_weights(self.network, folder / WEIGHTS)
        if self.pictures is not None:
            self.pictures.save(folder / PICTURES)
        text = json.dumps({"format": FORMAT, **asdict(self.metadata)}, indent=2, ensure_ascii=False)
        with atomic_write(folder / DESCRIPTION) as unfinished:
            unfinished.write_text(text + "\n", encoding="utf-8")

    def predict(
        self,
        picture: GivenPicture | Iterable[GivenPicture],
        scale_um: float | None = None,
        pixel_nm: float | None = None,
    ) -> Answer:
        """Estimate the parameters of a film from a `picture` (h, w) of it, or from several of different places.

        A picture is an array, a tensor, a Pillow image or a list of rows, with grey values of any range; bright domains
        point up. The scale is the length of the shorter side, `scale_um`, or follows from the size of a pixel,
        `pixel_nm`; all pictures have the same. A picture that is not square is divided into squares, and one that is
        given twice counts once.
        Raises UserError for a picture without contrast, with values that are not finite, or below 128 × 128 pixels; for
        pictures of different scales; for a scale out of bounds, and for a missing one where the network needs it.
        """
        if scale_um is not None and pixel_nm is not None:
            raise UserError("give the scale or the size of a pixel, not both")
        check_length(pixel_nm, "size of a pixel, nm")
        pictures = different_pictures(pictures_of(picture))
        sides = [self._check(one) for one in pictures]
        if pixel_nm is not None:
            scale_um = scale_of(min(sides), pixel_nm)
            if max(sides) > (1 + SAME_SCALE) * min(sides):
                raise UserError(
                    "the pictures show squares of different sizes; crop them to one size, or estimate one by one"
                )
        check_length(scale_um, "scale, µm")
        squares = [self._squares(one, side) for one, side in zip(pictures, sides, strict=True)]
        values = self.predict_mz(torch.cat(squares), scale_um)
        reasons = self._reasons(squares, values, scale_um)
        return self._answer(values, scale_um, reasons, () if reasons else self._other_films(squares, scale_um))

    def _squares(self, picture: NDArray[Any], side: int) -> torch.Tensor:
        """Return the squares (k, 128, 128) of a picture in full contrast, as input of the network."""
        low, high = grey_range(picture)
        full = np.clip((picture.astype(np.float64) - low) * (255 / (high - low)), 0, 255)
        squares = to_mz(torch.from_numpy(area_average(tiles(full.astype(np.float32)[None], side))[0]))
        views = squares if self.microscope is None else detrend(squares)
        return views.to(self.device)

    def _check(self, picture: NDArray[Any]) -> int:
        """Return the shorter side of a picture, pixels. Raises UserError if it is too small, or has no contrast."""
        check_picture(picture)
        side = int(min(picture.shape))
        if side < VIEW_SIZE:
            raise UserError(
                f"picture: {picture.shape[1]} × {picture.shape[0]} pixels are fewer than the network's "
                f"{VIEW_SIZE} × {VIEW_SIZE}; take it with more pixels"
            )
        return side

    def _reasons(
        self, squares: Sequence[torch.Tensor], values: NDArray[np.float64], scale_um: float | None
    ) -> tuple[str, ...]:
        """Return why an answer cannot be trusted: pictures without domains, or that contradict each other."""
        found = [domain_pictures().reason(shown.cpu().numpy()) for shown in squares]
        reasons = [reason for reason in dict.fromkeys(found) if reason is not None]
        ends = np.cumsum([len(shown) for shown in squares])[:-1]
        means = np.stack([of_picture.mean(axis=0) for of_picture in np.split(values, ends)])
        for number, target in enumerate(self.targets):
            low, high = float(means[:, number].min()), float(means[:, number].max())
            if high - low > CONTRADICTION * self.metadata.calibration.error(target.name, scale_um):
                ends_told = (practical(value, None, target.unit) for value in (low, high))
                reasons.append(f"the pictures contradict each other: {target.name} from {' to '.join(ends_told)}")
        return tuple(reasons)

    def _other_films(self, squares: Sequence[torch.Tensor], scale_um: float | None) -> tuple[str, ...]:
        """Return a warning where the pictures are not like those of the films that the estimator knows."""
        if self.pictures is None or not self.pictures.covers(scale_um):
            return ()
        shown = torch.cat(list(squares)).cpu().numpy()
        distance = float(np.median(self.pictures.distances(shown, scale_um)))
        if distance <= 1:
            return ()
        far = f"{distance:.2f} times as far from those of the training films as 99 % of these are"
        return (f"the picture is {far}: perhaps another material, history or scale",)

    def _answer(
        self, values: NDArray[np.float64], scale_um: float | None, reasons: tuple[str, ...], doubts: tuple[str, ...]
    ) -> Answer:
        """Return the answer for the values (pictures, targets) of one film's pictures."""
        calibration, pictures, estimates = self.metadata.calibration, len(values), {}
        for target, mean in zip(self.targets, values.mean(axis=0), strict=True):
            shrinkage = calibration.shrinkage(target.name, scale_um, pictures)
            estimates[target.name] = target.mean + shrinkage * (float(mean) - target.mean)
        errors = {name: calibration.error(name, scale_um, pictures) for name in estimates}
        if not all(map(math.isfinite, (*estimates.values(), *errors.values()))):
            raise UserError("this estimator's answer is not a finite number, so it is of no use; fit it again")
        warnings = (
            *doubts,
            *self._scale_warnings(scale_um),
            *self._number_warnings(scale_um, pictures),
            *self._range_warnings(estimates),
        )
        return Answer(
            values=estimates,
            errors=errors,
            units={target.name: target.unit for target in self.targets},
            warnings=reasons + warnings,
            films=self.metadata.films,
            trust="refused" if reasons else "doubtful" if warnings else "trusted",
            reasons=reasons,
        )

    def _scale_warnings(self, scale_um: float | None) -> list[str]:
        """Return a warning if the scale is unknown, or not one of the training."""
        trained = self.metadata.train_scales_um
        trained_on = "trained on " + ", ".join(f"{scale:g}" for scale in trained) + " µm"
        if scale_um is None:
            return [f"the picture's scale is unknown: the error bar is the largest of all scales ({trained_on})"]
        if not self.metadata.calibration.covers(scale_um):
            return [f"scale {scale_um:.3g} µm is beyond all that was tested; do not trust this value ({trained_on})"]
        if self.metadata.trained_at(scale_um):
            return []
        where = "between those" if trained[0] < scale_um < trained[-1] else "outside those"
        return [f"scale {scale_um:.3g} µm is {where} {trained_on}; the error bar takes this into account"]

    def _number_warnings(self, scale_um: float | None, pictures: int) -> list[str]:
        """Return a warning if there are more pictures than were calibrated."""
        if pictures <= (calibrated := self.metadata.calibration.max_pictures(scale_um)):
            return []
        return [f"the error bar is that of {calibrated}, not {pictures} pictures: no test film had more of this scale"]

    def _range_warnings(self, values: Mapping[str, float]) -> list[str]:
        """Return a warning for each value outside the range of the training films."""
        return [
            f"{target.name} lies outside the {practical(target.low, None, target.unit)} to "
            f"{practical(target.high, None, target.unit)} of the training films"
            for target in self.targets
            if not target.low <= values[target.name] <= target.high
        ]


def _existing(folder: Path, name: str) -> Path:
    """Return the path of a file of an estimator. Raises UserError if it is missing."""
    if not folder.is_dir():
        raise UserError(
            f"{folder}: there is no such estimator folder; make one with magray fit, or name one that comes with "
            f"magray: {', '.join(shipped())} (./{shipped()[0]} would be a folder of yours)"
        )
    if not (folder / name).is_file():
        raise UserError(f"{folder}: {name} is missing, so this is no complete estimator; fit it again")
    return folder / name
