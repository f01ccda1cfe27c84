"""Measure the error of D through each instrument, by what the instrument resolves.

    python -m benchmarks.instruments STORE... --estimator runs/any-film/estimator --output instruments.json

The stores hold designed films (configs/any-film), whose test films are seen with cells of 4 nm: walls Δ of 9 to 16 nm.
Constants are exact, and the history is told. Printed are, of films with D above 0.3 Dc and a period of at most a third
of the window, the median relative error of D/Dc with Aex known and unknown, the share of answers whose 68 % bar is less
than a fifth of D, and the coverage of these bars.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from magray.estimator.any_film import AnyFilmEstimator
from magray.evaluation.any_film import Tested
from magray.imaging.instruments import RANGES
from magray.imaging.instruments.asymmetry import PeemRanges
from magray.network.branches import own_device
from magray.network.execution import ExecutionConfig
from magray.store import open_store
from magray.training.any_film.films import FilmSet, read_films
from magray.training.any_film.instruments import GAUSSIAN, InstrumentShare
from magray.training.any_film.intervals import answers
from magray.training.any_film.sampler import Sampler

CELL = (4e-9, 4e-9)
LIGHT_CELL = (30e-9, 30e-9)  # films of a weak anisotropy, whose domains light resolves
CLEAR, GOOD = 0.3, 0.2  # D/Dc of the films; a bar over D, up to which a picture is good enough
BINS: dict[str, tuple[str, tuple[tuple[float, float], ...]]] = {  # the parameter that resolves, and its ranges
    "mfm": ("lift", ((15e-9, 25e-9), (25e-9, 40e-9), (40e-9, 80e-9))),
    "nv": ("height", ((30e-9, 45e-9), (45e-9, 70e-9), (70e-9, 120e-9))),
    "stxm": ("resolution", ((15e-9, 22e-9), (22e-9, 33e-9), (33e-9, 50e-9))),
    "peem": ("resolution", ((25e-9, 40e-9), (40e-9, 65e-9), (65e-9, 100e-9))),
    "sempa": ("resolution", ((10e-9, 20e-9), (20e-9, 40e-9), (40e-9, 70e-9))),
    "kerr": ("wavelength", ((400e-9, 480e-9), (480e-9, 560e-9), (560e-9, 650e-9))),
}


def shares(known: Sequence[str]) -> Iterator[tuple[str, InstrumentShare]]:
    """Yield a title and a narrowed instrument for each row of the table."""
    for name in known:
        if name in GAUSSIAN:
            yield name, InstrumentShare(name, 1.0, GAUSSIAN[name])
            continue
        parameter, bins = BINS[name]
        usual = PeemRanges(incidence=(0.0, 0.0)) if name == "peem" else RANGES[name]()
        for low, high in bins:
            ranges = replace(usual, **{parameter: (low, high)})
            cell = LIGHT_CELL if name == "kerr" else CELL
            title = f"{name}, {parameter} {low * 1e9:.0f} to {high * 1e9:.0f} nm"
            yield title, InstrumentShare(name, 1.0, ranges, cell=cell)


def scores(estimator: AnyFilmEstimator, films: Sequence[FilmSet], seen: InstrumentShare) -> dict[str, float]:
    """Return one row of the table."""
    execution = ExecutionConfig.of(films[0].images.device)
    pictures = Sampler(films, execution, (seen,)).held_out("test", 0)
    pictures.instrument = torch.full_like(pictures.instrument, estimator.trained.instruments.index(seen.name))
    said = answers(estimator.network, pictures, execution)
    tested = Tested.of(pictures, said, dict(estimator.description.calibration[seen.name]))
    which = pictures.in_window & (pictures.d > CLEAR)
    truth = pictures.d[which]
    row = {"pictures": float(which.sum())}
    for name in ("D, Aex known", "D, Aex unknown"):
        found = tested.intervals[name].some(which)
        bar = (found.high68 - found.low68) / 2 / found.median.clamp(min=1e-6)
        row[f"{name}: error"] = float(((found.median - truth).abs() / truth).median())
        row[f"{name}: good"] = float((bar < GOOD).float().mean())
        row[f"{name}: in 68 %"] = float(((found.low68 <= truth) & (truth <= found.high68)).float().mean())
    return row


def main() -> None:
    """Print the table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="+")
    parser.add_argument("--estimator", default="any-film")
    parser.add_argument("--output", type=Path, default=Path("instruments.json"))
    options = parser.parse_args()
    device = own_device()
    estimator = AnyFilmEstimator.load(options.estimator)
    estimator.network.to(device)
    films = [read_films(open_store(uri), device) for uri in options.stores]
    rows: dict[str, Any] = {}
    for title, seen in shares(estimator.trained.instruments):
        rows[title] = scores(estimator, films, seen)
        print(f"| {title} | " + " | ".join(f"{value:.3g}" for value in rows[title].values()) + " |", flush=True)
    options.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
