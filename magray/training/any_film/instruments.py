"""The instruments that the any-film estimator learns from: their shares of the pictures, and pictures through them.

Films have no size of their own, so each picture also draws the size of the film's cells and its Ms: with them, lift
heights and resolutions are lengths. An instrument's filter runs over whole periodic films by FFT, on the device that
holds them; a view of its signal, in steps of 1/255 of its range, is then made as one of mz, and the detector works on
the view's pixels.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from magray.config.reading import load_mapping
from magray.errors import UserError, shortened
from magray.imaging.instruments import RANGES, REFUSED, Instrument, Magnetisation, Ranges
from magray.imaging.instruments.magnetisation import column
from magray.imaging.microscope import BAND_LIMIT, CLEAN, PROCESSED, InstrumentRanges, blurred, detrend
from magray.imaging.views import to_mz
from magray.training.any_film.films import FilmSet
from magray.training.any_film.views import Views
from magray.units import parse_quantity

Interval = tuple[float, float]

GAUSSIAN = {"none": CLEAN, "microscope": PROCESSED}
FILM = {"cell": "length", "Ms": "magnetisation"}
WHOLE = 1e-6  # by which shares may miss 1, as thirds do
LEAST = 1e-30  # of a signal's range, in any unit
NOISE_KEPT = 3.0  # of its size, at most, where a program cuts off what is brighter or darker


@dataclass(frozen=True)
class InstrumentShare:
    """An instrument's share of the pictures, and what they draw from.

    cell: of the films, m, evenly in its logarithm. Ms: A/m, the same.
    """

    name: str
    share: float
    ranges: InstrumentRanges | Ranges
    cell: Interval = (2e-9, 8e-9)
    Ms: Interval = (2e5, 1.5e6)

    def __post_init__(self) -> None:
        """Raise UserError for what cannot be drawn."""
        if not 0 < self.share <= 1:
            raise UserError(f"share: give a part of all pictures, above 0 and up to 1, not {self.share:g}")
        for name in FILM:
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise UserError(f"{name}: give [smallest, largest], above 0, not {[low, high]}")
        if isinstance(self.ranges, Ranges) and self.ranges.oblique:
            raise UserError(
                "incidence: stores hold mz alone, and at an angle components in the plane are seen too; "
                "give [0 deg, 0 deg]"
            )

    def described(self) -> dict[str, Any]:
        """Return what an estimator's description says of it."""
        films = {} if isinstance(self.ranges, InstrumentRanges) else {"cell": self.cell, "Ms": self.Ms}
        return asdict(self.ranges) | films


HALVES = tuple(InstrumentShare(name, 0.5, ranges) for name, ranges in GAUSSIAN.items())


def read_instruments(path: str | Path) -> tuple[InstrumentShare, ...]:
    """Return the instruments in a YAML file: see configs/instruments/any-film.yaml. Raises UserError."""
    content = load_mapping(path)
    try:
        listed = content.get("instruments")
        if set(content) != {"instruments"} or not isinstance(listed, dict) or not listed:
            raise UserError("give one key, instruments, with names such as mfm: {share: 0.5}")
        found = tuple(_read_share(str(name), keys) for name, keys in listed.items())
        total = sum(one.share for one in found)
        if abs(total - 1) > WHOLE:
            raise UserError(f"the shares of all instruments make {total:g}; they have to make 1")
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return found


def _read_share(name: str, keys: Any) -> InstrumentShare:
    if name in REFUSED:
        raise UserError(f"{name}: {REFUSED[name]}")
    if name not in GAUSSIAN and name not in RANGES:
        raise UserError(f"{shortened(name)} is no instrument; known are {', '.join([*GAUSSIAN, *RANGES])}")
    if not isinstance(keys, dict) or not isinstance(keys.get("share"), int | float) or isinstance(keys["share"], bool):
        raise UserError(f"{name}: give its share of the pictures, as in {{share: 0.5}}")
    kind = RANGES.get(name)
    drawn = {} if kind is None else {one: how.dimension for one, how in kind.parameters().items()}
    dimensions = drawn if kind is None else FILM | drawn
    if unknown := [key for key in keys if key != "share" and key not in dimensions]:
        raise UserError(f"{name}: unknown key {shortened(unknown[0])}; known are {', '.join(['share', *dimensions])}")
    try:
        values = {key: _interval(ends, dimensions[key], key) for key, ends in keys.items() if key != "share"}
        ranges = GAUSSIAN[name] if kind is None else kind(**{key: values[key] for key in values if key in drawn})
        return InstrumentShare(name, keys["share"], ranges, **{key: values[key] for key in values if key in FILM})
    except UserError as error:
        raise UserError(f"{name}.{error}") from error


def _interval(ends: Any, dimension: str, name: str) -> Interval:
    if not isinstance(ends, list) or len(ends) != 2:
        raise UserError(f"{name}: give [smallest, largest], not {shortened(ends)}")
    low, high = (parse_quantity(end, dimension, name) for end in ends)
    return low, high


def pictures_through(
    seen: InstrumentShare, views: Views, films: FilmSet, index: torch.Tensor, geometry: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pictures (n, 128, 128) of the films `index` (n,) through an instrument, and its resolutions (n,) in cells.

    The pictures are as `views` has them, and detrended. A resolution is NaN where the instrument has none.
    """
    if isinstance(seen.ranges, InstrumentRanges):
        pictures = _blurred_and_noisy(seen.ranges, views(films.images, index, geometry))
        return pictures, torch.full_like(films.thickness[index], torch.nan)
    instrument, signal, cell = signals(seen, seen.ranges, views, films, index, geometry)
    return recorded(instrument, signal), instrument.resolution / cell


def signals(
    seen: InstrumentShare,
    ranges: Ranges,
    views: Views,
    films: FilmSet,
    index: torch.Tensor,
    geometry: torch.Tensor,
) -> tuple[Instrument, torch.Tensor, torch.Tensor]:
    """Return instruments of an InstrumentShare, the signals (n, 128, 128) that their detectors are given, and cells.

    The sizes of the films' cells (n,) are in m.
    """
    count, device = len(index), index.device
    cell, Ms = (_even(interval, torch.rand(count, device=device)) for interval in (seen.cell, seen.Ms))
    sign, upright = geometry[:, 7], torch.cat([geometry[:, :7], torch.ones_like(geometry[:, :1])], 1)
    mz = to_mz(films.images[index].float()) * column(sign)
    instrument = ranges.draw(count, device=device)
    signal = instrument.signal(Magnetisation(mz, cell, films.thickness[index] * cell, Ms))
    low, high = signal.amin((1, 2), keepdim=True), signal.amax((1, 2), keepdim=True)
    span = (high - low).clamp(min=LEAST)
    grey = ((signal - low) / span * 255).round().to(torch.uint8).contiguous()
    return instrument, low + (views(grey, torch.arange(count, device=device), upright) + 1) / 2 * span, cell


def recorded(instrument: Instrument, signal: torch.Tensor) -> torch.Tensor:
    """Return what detectors make of signals (n, 128, 128), detrended."""
    measured = instrument.measured(signal)
    return detrend(measured / measured.std((1, 2), keepdim=True).clamp(min=LEAST))


def _blurred_and_noisy(ranges: InstrumentRanges, views: torch.Tensor) -> torch.Tensor:
    """Return views with a Gaussian blur, in pixels, and white noise. They are blurred by BAND_LIMIT already."""
    drawn = torch.rand(2, len(views), device=views.device)
    ends = (ranges.blur, ranges.noise)
    blur, noise = (low + (high - low) * part for (low, high), part in zip(ends, drawn, strict=True))
    views = blurred(views, (blur.square() - BAND_LIMIT**2).clamp(min=0).sqrt())
    pictures = views + column(noise) * torch.randn_like(views)
    if ranges.processed:
        pictures = _processed(ranges, pictures, views, noise)
    return detrend(pictures)


def _processed(
    ranges: InstrumentRanges, pictures: torch.Tensor, views: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """Return pictures of which a share has been through a program. views, noise: the same without noise, and its size.

    The grey values that the program gave them end somewhere between the views' ends and their noise's.
    """
    chosen, smoothing, power, room = torch.rand(4, len(pictures), device=pictures.device)
    chosen = chosen < ranges.processed
    pictures = blurred(pictures, torch.where(chosen, ranges.smoothing * smoothing, 0.0))
    margin = column(NOISE_KEPT * room * noise)
    low, high = views.amin((1, 2), keepdim=True) - margin, views.amax((1, 2), keepdim=True) + margin
    grey = ((pictures - low) / (high - low).clamp(min=LEAST)).clamp(0, 1)
    curved = low + (high - low) * grey ** column(ranges.gamma ** (2 * power - 1))
    return torch.where(column(chosen), curved, pictures)


def _even(interval: Interval, drawn: torch.Tensor) -> torch.Tensor:
    """Return values in an interval, evenly in their logarithm, for numbers from 0 to 1."""
    low, high = interval
    return low * (high / low) ** drawn
