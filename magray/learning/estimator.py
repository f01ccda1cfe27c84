"""The estimator: a trained network with all that makes its numbers an answer, in one folder.

network.safetensors    the weights
estimator.json         targets with unit, mean and spread; what it was trained on; calibration; provenance
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import nn

from magray.errors import UserError
from magray.imaging import VIEW_SIZE, area_average, check_picture, grey_range, normalised, over_views, scale_of, tiles
from magray.imaging.microscope import NEEDS_SCALE, Microscope, as_seen, levelled
from magray.learning.batches import QUARTER_TURNS
from magray.learning.means import Estimate, estimate_of
from magray.learning.network import NETWORKS, NetworkName, ScaleAwareCnn
from magray.whole import whole_file

FORMAT = 5
SHIPPED = Path(__file__).parents[1] / "estimators"  # a folder each, with the name by which it is asked for
WEIGHTS, DESCRIPTION = "network.safetensors", "estimator.json"
ROUNDING = 1e-9  # relative: constants that were written as text are the same
SAME_SCALE = 0.024  # relative: a micrometre taken as 1000 nm instead of the paper's 1024 is the same scale
CHUNK, CHUNK_ON_GPU = 256, 2048  # pictures through the network at once: turned ones, too
PRACTICAL = {
    "A/m": (1e-3, "kA/m"),
    "J/m3": (1e-6, "MJ/m³"),
    "J/m": (1e12, "pJ/m"),
    "J/m2": (1e3, "mJ/m²"),
    "m": (1e9, "nm"),
}


@dataclass(frozen=True)
class Target:
    """One parameter that the network estimates. SI: it learned from values in low…high, as (value − mean) / spread."""

    name: str
    unit: str
    mean: float
    spread: float
    low: float
    high: float


@dataclass(frozen=True)
class Constant:
    """What the training films were made with: a column of the store, from low to high, SI."""

    name: str
    unit: str
    low: float
    high: float

    def __str__(self) -> str:
        low, high = (_practical(value, None, self.unit) for value in (self.low, self.high))
        return f"{self.name} {low}" if low == high else f"{self.name} {low.split()[0]} to {high}"


def standardised(values: NDArray[np.float64], targets: Sequence[Target]) -> torch.Tensor:
    """What a network learns (n, targets), float32, of `values` (n, targets), SI."""
    means, spreads = _means_and_spreads(targets)
    return torch.from_numpy((values - means) / spreads).float()


@dataclass(frozen=True)
class Calibration:
    """What the errors were on films that the fit never saw: at each of `scales_um` (ascending), by target.

    errors: target name -> 68 % of the views had an error of at most this, SI, for each scale. films: how many.
    """

    scales_um: tuple[float, ...]
    errors: Mapping[str, tuple[float, ...]]
    films: int

    def error(self, target: str, scale_um: float | None) -> float:
        """The error bar at `scale_um`, between its neighbours; the largest for a scale that is unknown or beyond."""
        errors = self.errors[target]
        if scale_um is None or not self.covers(scale_um):
            return max(errors)
        return float(np.interp(scale_um, self.scales_um, errors))

    def covers(self, scale_um: float) -> bool:
        """Whether `scale_um` lies among the calibrated scales."""
        return self.scales_um[0] * (1 - SAME_SCALE) <= scale_um <= self.scales_um[-1] * (1 + SAME_SCALE)


@dataclass(frozen=True)
class Description:
    """All of an estimator but its weights.

    provenance: where it comes from; read by people, not by the code. network: its kind. width: its filters, of the
    paper's numbers. between: whether it was trained at any scale between the outermost of `train_scales_um`, and not at
    these alone. microscope: that films were seen through; None if they were seen as they are. constants: of the
    training films; older formats do not tell.
    """

    targets: tuple[Target, ...]
    train_scales_um: tuple[float, ...]
    training_films: int
    calibration: Calibration
    provenance: Mapping[str, Any]
    network: NetworkName = "paper"
    width: float = 1.0
    between: bool = False
    microscope: Microscope | None = None
    constants: tuple[Constant, ...] = ()

    @property
    def films(self) -> str:
        """What films it knows: answers for others mean nothing."""
        seen = "as they are" if self.microscope is None else f"through {self.microscope}"
        made = ", ".join(map(str, self.constants)) or "constants that it does not tell"
        return f"{self.training_films:,} films, seen {seen}: {made}"

    def knows(self, film: Mapping[str, float]) -> bool:
        """Whether a film with these constants, SI, lies among those that it has learned from."""
        return bool(self.constants) and all(
            constant.low * (1 - ROUNDING) <= film[constant.name] <= constant.high * (1 + ROUNDING)
            for constant in self.constants
        )

    def trained_at(self, scale_um: float) -> bool:
        """Whether pictures of this scale were among the training's."""
        scales = self.train_scales_um
        if self.between and scales[0] <= scale_um <= scales[-1]:
            return True
        return any(abs(scale_um / scale - 1) <= SAME_SCALE for scale in scales)


@dataclass(frozen=True)
class Answer:
    """What an estimator says of a picture: SI values with 68 % error bars and SI units, by parameter; and warnings.

    films: those that the estimator has learned from; of others it knows nothing.

    With one parameter, `value`, `error` and `unit` are its own. `str` of an answer is for people, in practical units.
    """

    values: Mapping[str, float]
    errors: Mapping[str, float]
    units: Mapping[str, str]
    warnings: tuple[str, ...]
    films: str

    @property
    def value(self) -> float:
        """The value of the only parameter, SI. Raises UserError if there are several."""
        return self.values[self._only()]

    @property
    def error(self) -> float:
        """The error bar of the only parameter, SI. Raises UserError if there are several."""
        return self.errors[self._only()]

    @property
    def unit(self) -> str:
        """The SI unit of the only parameter. Raises UserError if there are several."""
        return self.units[self._only()]

    def __str__(self) -> str:
        return "\n".join(
            f"{name} = {_practical(value, self.errors[name], self.units[name])}" for name, value in self.values.items()
        )

    def _only(self) -> str:
        if len(self.values) > 1:
            raise UserError(f"this answer holds {', '.join(self.values)}; read .values and .errors by name")
        return next(iter(self.values))


class Estimator:
    """Answers with a film's parameters for a picture of its domains."""

    def __init__(self, network: nn.Module, description: Description) -> None:
        self.network = network.eval()
        self.description = description

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> "Estimator":
        """The estimator that `save` wrote to `folder`, or one of SHIPPED by its name.

        Raises UserError where there is none, or a newer one.
        """
        folder = Path(folder)
        if not folder.exists() and str(folder) in shipped():
            folder = SHIPPED / folder
        description = _read_description(folder)
        network = NETWORKS[description.network](len(description.targets), description.width)
        try:
            network.load_state_dict(safetensors.torch.load_file(_existing(folder, WEIGHTS)))
        except (SafetensorError, RuntimeError) as error:
            raise UserError(f"{folder / WEIGHTS} does not hold this estimator's weights; fit it again") from error
        return cls(network.to(device), description)

    def save(self, folder: str | Path) -> None:
        """Writes the estimator to `folder`: the weights first, so that a description says that all is there."""
        folder = Path(folder)
        weights = {name: tensor.cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        with whole_file(folder / WEIGHTS) as unfinished:
            safetensors.torch.save_file(weights, unfinished)
        text = json.dumps({"format": FORMAT, **asdict(self.description)}, indent=2, ensure_ascii=False)
        with whole_file(folder / DESCRIPTION) as unfinished:
            unfinished.write_text(text + "\n", encoding="utf-8")

    def predict(self, picture: NDArray[Any], scale_um: float | None = None, pixel_nm: float | None = None) -> Answer:
        """The answer for a `picture` (h, w) in grey values of any kind: bright domains point up, dark ones down.

        Its scale is `scale_um`, the length of its shorter side, or follows from the size of a pixel, `pixel_nm`. A
        picture that is not square answers with the mean over the squares in it.
        Raises UserError for a picture without contrast, with values that are not finite, or below 128 × 128 pixels; and
        without a scale where the network needs it.
        """
        side = self._check(picture)
        if scale_um is not None and pixel_nm is not None:
            raise UserError("give the scale or the size of a pixel, not both")
        if pixel_nm is not None:
            scale_um = scale_of(side, pixel_nm)
        if scale_um is not None and not (math.isfinite(scale_um) and scale_um > 0):
            raise UserError(f"a scale is a length above 0 µm, not {scale_um:g}")
        low, high = grey_range(picture)
        full = np.clip((picture.astype(np.float64) - low) * (255 / (high - low)), 0, 255)
        squares = area_average(tiles(full.astype(np.float32)[None], side))[0]
        pictures = normalised(torch.from_numpy(squares).to(self.device))
        if self.description.microscope is not None:
            pictures = levelled(pictures)
        return self._answer(self._values(pictures, scale_um).mean(axis=0), scale_um)

    def predict_views(self, views: NDArray[Any] | torch.Tensor, scale_um: float | None = None) -> NDArray[np.float64]:
        """Values (n, targets), SI, for `views` (n, 128, 128) of films, grey values 0…255.

        Seen through the microscope that it was trained with, if any: always with the same noise.
        Raises UserError without the views' scale where the network needs it.
        """
        pictures = as_seen(torch.as_tensor(views, device=self.device), scale_um, self.description.microscope)
        return self._values(pictures, scale_um)

    def _values(self, pictures: torch.Tensor, scale_um: float | None) -> NDArray[np.float64]:
        """Values (n, targets), SI, for `pictures` (n, 128, 128) as the network knows them: means over quarter turns."""
        if scale_um is None and isinstance(self.network, ScaleAwareCnn):
            raise UserError(NEEDS_SCALE)
        chunk, estimates = CHUNK_ON_GPU if self.device.type == "cuda" else CHUNK, []
        with torch.inference_mode():
            for some in pictures.split(chunk // QUARTER_TURNS):  # type: ignore[no-untyped-call]
                turned = torch.cat([some.rot90(turns, (1, 2)) for turns in range(QUARTER_TURNS)])
                scales = torch.full((len(turned),), scale_um or math.nan, device=self.device)
                of_turned = self._estimate(turned, scales).view(QUARTER_TURNS, len(some), -1)
                estimates.append(of_turned.mean(dim=0).cpu().numpy())
        means, spreads = _means_and_spreads(self.targets)
        values: NDArray[np.float64] = np.concatenate(estimates) * spreads + means
        return values

    def predict_films(self, films: torch.Tensor, scale_um: float, pixel_nm: float) -> NDArray[np.float64]:
        """Values (n, k, targets), SI, for all views at a scale that tile films (n, ny, nx) uint8.

        Fastest with films on the estimator's own device.
        """
        return over_views(lambda shown: self.predict_views(shown, scale_um), films, scale_um, pixel_nm)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @cached_property
    def _estimate(self) -> Estimate:
        return estimate_of(self.network, self.device)

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """What the network estimates, in the order of its outputs."""
        return self.description.targets

    def _check(self, picture: NDArray[Any]) -> int:
        """The shorter side of a picture that the network can take."""
        check_picture(picture)
        side = int(min(picture.shape))
        if side < VIEW_SIZE:
            raise UserError(
                f"picture: {picture.shape[1]} × {picture.shape[0]} pixels are fewer than the network's "
                f"{VIEW_SIZE} × {VIEW_SIZE}; take it with more pixels"
            )
        return side

    def _answer(self, values: NDArray[np.float64], scale_um: float | None) -> Answer:
        named = {target.name: float(value) for target, value in zip(self.targets, values, strict=True)}
        calibration = self.description.calibration
        return Answer(
            values=named,
            errors={name: calibration.error(name, scale_um) for name in named},
            units={target.name: target.unit for target in self.targets},
            warnings=(*self._scale_warnings(scale_um), *self._range_warnings(named)),
            films=self.description.films,
        )

    def _scale_warnings(self, scale_um: float | None) -> list[str]:
        trained = self.description.train_scales_um
        named = "trained on " + ", ".join(f"{scale:g}" for scale in trained) + " µm"
        if scale_um is None:
            return [f"the picture's scale is unknown: the error bar is the largest of all scales ({named})"]
        if not self.description.calibration.covers(scale_um):
            return [f"scale {scale_um:.3g} µm is beyond all that was tested; do not trust this value ({named})"]
        if self.description.trained_at(scale_um):
            return []
        where = "between those" if trained[0] < scale_um < trained[-1] else "outside those"
        return [f"scale {scale_um:.3g} µm is {where} {named}; the error bar takes this into account"]

    def _range_warnings(self, values: Mapping[str, float]) -> list[str]:
        return [
            f"{target.name} lies outside the {_practical(target.low, None, target.unit)} to "
            f"{_practical(target.high, None, target.unit)} of the training films"
            for target in self.targets
            if not target.low <= values[target.name] <= target.high
        ]


def _means_and_spreads(targets: Sequence[Target]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array([target.mean for target in targets]), np.array([target.spread for target in targets])


def _practical(value: float, error: float | None, unit: str) -> str:
    """A value for people: "0.52 ± 0.04 mJ/m²"."""
    factor, practical = PRACTICAL.get(unit, (1.0, unit.replace("1", "")))
    bar = "" if error is None else f" ± {_digits(error * factor, 2)}"
    return f"{_digits(value * factor, 3)}{bar} {practical}".rstrip()


def _digits(value: float, count: int) -> str:
    """At least so many, and never a power of ten for what people count in thousands."""
    return f"{value:.{count}g}" if abs(value) < 10**count - 0.5 or abs(value) > 1e6 else f"{value:.0f}"


def shipped() -> list[str]:
    """Names of the estimators that come with magray."""
    return sorted(folder.name for folder in SHIPPED.iterdir() if folder.is_dir())


def _existing(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise UserError(
            f"{folder}: there is no such estimator folder; make one with magray fit, or name one that comes with "
            f"magray: {', '.join(shipped())}"
        )
    if not (folder / name).is_file():
        raise UserError(f"{folder}: {name} is missing, so this is no complete estimator; fit it again")
    return folder / name


def _read_description(folder: Path) -> Description:
    path = _existing(folder, DESCRIPTION)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = int(data["format"])
        if version > FORMAT:
            raise UserError(f"{path}: format {version} is newer than this magray reads ({FORMAT}); update magray")
        calibration = data["calibration"]
        return Description(
            targets=tuple(Target(**target) for target in data["targets"]),
            train_scales_um=tuple(data["train_scales_um"]),
            training_films=data["training_films"],
            calibration=Calibration(
                tuple(calibration["scales_um"]),
                {name: tuple(errors) for name, errors in calibration["errors"].items()},
                calibration["films"],
            ),
            provenance=data["provenance"],
            network=_known(data.get("network", "paper")),  # what older formats do not tell was the same for all
            width=data.get("width", 1.0),
            between=data.get("between", False),
            microscope=_microscope(data.get("microscope")),
            constants=tuple(Constant(**constant) for constant in data.get("constants", ())),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not describe an estimator") from error


def _microscope(data: Mapping[str, Any] | None) -> Microscope | None:
    return None if data is None else Microscope(tuple(data["blur_nm"]), tuple(data["noise"]))


def _known(network: NetworkName) -> NetworkName:
    if network not in NETWORKS:
        raise ValueError(f"no network is called {network}")
    return network
