"""Measure the any-film estimator on films that are simulated here: what holds beyond its own test films.

    python -m benchmarks.any_film --backend cupy --films 2000 --processes 14 --output any-film.json

Prints a table, and writes the same numbers as JSON. All other numbers of films are parts of `--films`.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.domain_pictures import shows_domains, through_microscope, turned_view
from magray import Film, Minimize, Protocol
from magray.config import DesignedConfig, load_films
from magray.estimator.knowns import INSTRUMENTS
from magray.films.design import draw, history_of
from magray.films.reduced import ReducedNumbers, stripe_period
from magray.micromagnetics import FilmSolver
from magray.store.rows import pixels

Picture = NDArray[Any]
Row = dict[str, float]
Ends = tuple[float, float]

CELL = 4e-9
OLD = ("co-like", "co-like-microscope")
DESIGN = Path(__file__).parents[1] / "configs" / "any-film" / "films-256.yaml"
CO_LIKE_D = (0.1e-3, 1e-3)  # J/m², of the films of co-like
AEX = 15e-12  # J/m, of a common film
COARSE_GRAINS = 16e-9  # which cells of 4 nm resolve
PATIENT = 12_000  # evaluations, for films of 2 nm cells
ELSEWHERE = 0x5EED  # seeds of no campaign
MATERIALS: dict[str, dict[str, Any]] = {  # told of pictures without domains
    "Co": {"Ms": 1.5e6, "Ku1": 1.6e6, "thickness": 4e-9, "Aex": 31e-12},
    "CoFeB": {"Ms": 1.1e6, "Keff": 0.1e6, "thickness": 1.2e-9},
    "Pt/Co": {"Ms": 0.8e6, "Keff": 0.25e6, "thickness": 12e-9},
}
PIXELS_NM = (2.0, 15.0)  # of these


@dataclass(frozen=True)
class Question:
    """Pictures of a film with what an estimator is told of it, and the film's true D, J/m².

    within: D is known to lie in.
    """

    pictures: tuple[Picture, ...]
    pixel_nm: float
    known: dict[str, float]
    D: float = math.nan
    dmi: str | None = None
    history: str | None = None
    instrument: str = "none"
    estimator: str = "any-film"
    within: Ends | None = None


@dataclass(frozen=True)
class Said:
    """An estimator's answer for D, J/m²: NaN where it gave none. seconds: that it took."""

    D: float
    error: float
    ends68: Ends
    ends95: Ends
    trust: str
    reasons: tuple[str, ...]
    seconds: float


def told(film: Film, *names: str, history: bool = True) -> dict[str, Any]:
    """Return what is told of a film: Ms, Ku1 and thickness exactly, further constants by name, and kinds."""
    known = {"Ms": film.Ms, "Ku1": film.Ku1, "thickness": film.cell_size[2]}
    known |= {name: getattr(film, name) for name in names}
    return {
        "known": known,
        "D": abs(film.D),
        "dmi": film.dmi,
        "history": history_of(film.protocol) if history else None,
    }


@lru_cache(maxsize=4)
def estimator_of(name: str) -> Any:
    """Return an estimator of this process."""
    import torch

    from magray.estimator.any_film import AnyFilmEstimator
    from magray.estimator.estimator import Estimator

    torch.set_num_threads(1)
    return AnyFilmEstimator.load() if name == "any-film" else Estimator.load(name)


def answer(question: Question) -> Said:
    """Return what the estimator says."""
    from magray.errors import UserError
    from magray.estimator.knowns import Knowledge, Range

    estimator, nothing = estimator_of(question.estimator), (math.nan, math.nan)
    start = time.perf_counter()
    try:
        if question.estimator == "any-film":
            known = question.known | ({} if question.within is None else {"D": Range(*question.within)})
            knowledge = Knowledge.of(known, question.dmi, question.history, question.instrument)
            found = estimator.estimate(question.pictures, knowledge, pixel_nm=question.pixel_nm)
            D = found.parameters["D"]
            value, error, ends68, ends95 = D.value, D.error, (D.low68, D.high68), (D.low95, D.high95)
        else:
            found = estimator.predict(list(question.pictures), pixel_nm=question.pixel_nm)
            value, error = found.value, found.error
            ends68 = value - error, value + error
            ends95 = value - 2 * error, value + 2 * error
    except UserError as refusal:
        return Said(math.nan, math.nan, nothing, nothing, "refused", (str(refusal),), time.perf_counter() - start)
    reasons = found.reasons if question.estimator == "any-film" else found.warnings
    return Said(value, error, ends68, ends95, found.trust, tuple(reasons), time.perf_counter() - start)


class Measured:
    """The rows of the table, by its parts; a pool that answers; the solver's backend; and the numbers of films."""

    def __init__(self, backend: str, films: int, side: int, pool: ProcessPoolExecutor) -> None:
        self.films, self.side, self.pool = films, side, pool
        self.solver = FilmSolver(backend)
        self.rows: dict[str, dict[str, Row]] = {}

    def simulated(self, films: Sequence[Film]) -> list[tuple[Film, NDArray[np.uint8], bool]]:
        """Return the films that did not fail, with their pictures (side, side) and whether they converged."""
        start = time.perf_counter()
        done = [(one.film, pixels(one.m[2]), one.converged) for one in self.solver.stream(films) if one.m is not None]
        kept = sum(converged for _, _, converged in done)
        print(f"# {len(films)} films, {kept} converged, {time.perf_counter() - start:.0f} s", file=sys.stderr)
        order = {film.film_id: place for place, film in enumerate(films)}
        return sorted(done, key=lambda one: order[one[0].film_id])

    @cached_property
    def designed(self) -> list[tuple[Film, NDArray[np.uint8]]]:
        """The films of the design that converged, of every history."""
        films = of_design(self.films, self.side, 0)
        return [(plausible(film), image) for film, image, converged in self.simulated(films) if converged]

    def ask(self, questions: Iterable[Question]) -> list[Said]:
        """Return the answers, from all processes."""
        questions, start = list(questions), time.perf_counter()
        said = list(self.pool.map(answer, questions, chunksize=max(1, len(questions) // 200)))
        print(f"# {len(said)} answers, {time.perf_counter() - start:.0f} s", file=sys.stderr)
        return said

    def add(self, part: str, title: str, row: Row) -> None:
        """Keep a row, and print it."""
        self.rows.setdefault(part, {})[title] = row
        cells = ", ".join(f"{name} {value:.3g}" for name, value in row.items())
        print(f"| {part} | {title} | {cells} |", flush=True)


def scores(questions: Sequence[Question], said: Sequence[Said], unit: float = 1.0) -> Row:
    """Return mean absolute error and median bar of |D| over `unit`, coverage, and shares of trust."""
    truth = np.array([abs(one.D) for one in questions])
    value, error = np.array([one.D for one in said]), np.array([one.error for one in said])
    given = np.isfinite(value)
    row: Row = {"answers": len(said)}
    if given.any():
        row["MAE"] = float(np.abs(value - truth)[given].mean() / unit)
        row["bar"] = float(np.median(error[given]) / unit)
        for name in ("ends68", "ends95"):
            low, high = np.array([getattr(one, name) for one in said]).T
            row[f"in {name[-2:]} %"] = float(((low <= truth) & (truth <= high))[given].mean())
    return row | {trust: shares(said, trust) for trust in ("doubtful", "refused")}


def shares(said: Sequence[Said], trust: str) -> float:
    """Return the share of answers with this trust."""
    return sum(one.trust == trust for one in said) / max(1, len(said))


def of_design(films: int, side: int, seed: int, **changes: Any) -> list[Film]:
    """Return films of a design like that of the training, without its spirals."""
    config = load_films(DESIGN)
    assert isinstance(config, DesignedConfig)
    design = replace(config.design.design(), cells=(side, side), spirals=0.0)
    return draw(replace(design, films=films, seed=ELSEWHERE + seed, **changes))


def plausible(film: Film) -> Film:
    """Return the scaled copy of a film, of the same picture, whose Aex is nearer to that of a real one."""
    scale = (AEX / film.Aex) ** 0.25
    dx, dy, dz = (scale * side for side in film.cell_size)
    return replace(
        film,
        cell_size=(dx, dy, dz),
        grain_size=scale * film.grain_size,
        Aex=scale**2 * film.Aex,
        D=scale * film.D,
    )


def in_window(film: Film) -> bool:
    """Return whether the period that theory expects is a third of the film at most."""
    numbers = ReducedNumbers.of(film.Ms, film.Ku1, film.Aex, film.D, film.cell_size[2], film.cell_size[0])
    ratio = numbers.tau / numbers.delta
    period = stripe_period(numbers.delta, ratio, min(math.pi * numbers.s, 50.0))
    return bool(period <= min(film.cells) / 3)


def critical(films: Iterable[Film]) -> NDArray[np.float64]:
    """Return Dc of films, J/m²."""
    return np.array([film.critical_D for film in films])


def whole_question(film: Film, pictures: tuple[Picture, ...], *names: str) -> Question:
    """Return a question with pictures whose pixels are the film's cells."""
    return Question(pictures, film.cell_size[0] * 1e9, **told(film, *names))


def view_question(
    film: Film, image: NDArray[np.uint8], random: np.random.Generator, microscope: bool, **tells: Any
) -> Question | None:
    """Return a question with half of a film or more, as cells or through a microscope; None for one without domains."""
    side, pixel_nm = len(image), film.cell_size[0] * 1e9
    if not microscope:
        part = max(128, round(side * math.exp(random.uniform(-math.log(2), 0))))
        cells = np.roll(image, random.integers(0, side, 2), (0, 1))[:part, :part]
        shown = shows_domains(cells / 127.5 - 1)
        return Question((cells,), pixel_nm, instrument="none", **tells) if shown else None
    zoom = side / 128 * math.exp(random.uniform(-math.log(2), 0))
    view = turned_view(image / 127.5 - 1, zoom, random)
    if not shows_domains(view):
        return None
    seen = through_microscope(view, random).astype(np.float32)
    return Question((seen,), zoom * pixel_nm, instrument="microscope", **tells)


def co_like(measured: Measured) -> None:
    """Films of the material of `co-like`: any-film against the estimators that know only that material."""
    import torch

    from magray.estimator.estimator import Estimator
    from magray.imaging import area_average, cells_of, tiles, to_mz

    random, side = np.random.default_rng(ELSEWHERE), 2 * measured.side
    films = [
        Film(
            (side, side),
            (CELL, CELL, CELL),
            *(1.5e6, 1.6e6, 31e-12, random.uniform(*CO_LIKE_D), "bulk", random.uniform(0.05, 0.2)),
            seed=ELSEWHERE + number,
            protocol=Protocol(stages=(Minimize(1e-4, 20_000),)),
        )
        for number in range(max(4, measured.films // 10))
    ]
    done = [(film, image) for film, image, converged in measured.simulated(films) if converged]
    images = np.stack([image for _, image in done])
    microscope = Estimator.load(OLD[1]).microscope
    assert microscope is not None
    for scale in (0.5, 1.0, 2.0):
        cells = cells_of(scale, CELL * 1e9)
        if cells > side:
            continue
        shown = area_average(tiles(images, cells)[:, :1])
        owners = [film for film, _ in done for _ in range(shown.shape[1])]
        views = to_mz(torch.from_numpy(shown.reshape(-1, 128, 128)))
        scales, generator = torch.full((len(views),), scale), torch.Generator().manual_seed(0)
        seen = {"none": views, "microscope": microscope.pictures(views, scales, generator)}
        for (instrument, pictures), old in zip(seen.items(), OLD, strict=True):
            for name, within in (("any-film", None), ("any-film", CO_LIKE_D), (old, None)):
                questions = [
                    Question(
                        (view.numpy(),),
                        cells * 4 / 128,
                        **told(film, "Aex"),
                        instrument=instrument,
                        estimator=name,
                        within=within,
                    )
                    for film, view in zip(owners, pictures, strict=True)
                ]
                knowing = " that knows the range of D" if within else ""
                title = f"{scale} µm, {instrument}: {name}{knowing}, mJ/m²"
                measured.add("Co-like", title, scores(questions, measured.ask(questions), 1e-3))


def cells(measured: Measured) -> None:
    """The same films with cells of 4 and of 2 nm, and the same start: whole pictures, and the shift of D in bars."""
    for history in ("minimised", "demagnetised"):
        films = [
            replace(
                film,
                grain_size=max(film.grain_size, COARSE_GRAINS),
                protocol=replace(film.protocol, stages=(*film.protocol.stages[:-1], Minimize(3e-4, PATIENT))),
            )
            for film in of_design(max(4, measured.films // 40), measured.side, 1, histories={history: 1.0}, beyond=0)
            if film.cell_size[2] < 50 * CELL
        ]
        fine = [
            replace(film, cells=(2 * film.cells[0],) * 2, cell_size=(CELL / 2, CELL / 2, film.cell_size[2]))
            for film in films
        ]
        both = [
            [(plausible(film), image, done) for film, image, done in measured.simulated(some)] for some in (films, fine)
        ]
        kept = [pair for pair in zip(*both, strict=True) if all(one[2] for one in pair)]
        for names in ((), ("Aex",)):
            title = f"{history}, Aex {'known' if names else 'unknown'}"
            measured.add("cells of 4 and 2 nm", title, shift_of_cells(measured, kept, names))


Simulated = tuple[Film, NDArray[np.uint8], bool]


def shift_of_cells(measured: Measured, kept: Sequence[Sequence[Simulated]], names: Sequence[str]) -> Row:
    """Return how far answers for the same films in coarse and in fine cells lie apart."""
    questions = [
        [whole_question(film, (image,), *names) for film, image, _ in some] for some in zip(*kept, strict=True)
    ]
    first, second = (measured.ask(some) for some in questions)
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if "refused" not in (a.trust, b.trust)]
    shift = np.array([(a.D - b.D) / math.hypot(a.error, b.error) * math.sqrt(2) for a, b in pairs])
    row = {"films": len(shift), "mean shift, bars": mean(shift), "its error": spread(shift)}
    for name, some, said in zip(("4 nm", "2 nm"), questions, (first, second), strict=True):
        off = [(a.D - abs(q.D)) / a.error for q, a in zip(some, said, strict=True) if a.trust != "refused"]
        row |= {f"{name}: mean error, bars": mean(off), f"{name}: refused": shares(said, "refused")}
    return row


def mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the mean; NaN of nothing."""
    return float(np.mean(values)) if len(values) else math.nan


def spread(values: NDArray[np.float64]) -> float:
    """Return the standard error of a mean; NaN of nothing."""
    return float(values.std() / math.sqrt(len(values))) if len(values) else math.nan


def histories(measured: Measured) -> None:
    """Films of the design whose history is not told, as they are and through a microscope."""
    random = np.random.default_rng(1)
    for microscope in (False, True):
        asked = [
            (film, view_question(film, image, random, microscope, **told(film, history=False)))
            for place, (film, image) in enumerate(measured.designed)
            if place % 2 == microscope
        ]
        kept = [(film, one) for film, one in asked if one is not None]
        questions = [one for _, one in kept]
        said = measured.ask(questions)
        name = "microscope" if microscope else "as they are"
        measured.add(
            "history unknown", f"{name}, Aex unknown, D/Dc", relative(questions, said, critical(f for f, _ in kept))
        )


def relative(questions: Sequence[Question], said: Sequence[Said], Dc: NDArray[np.float64]) -> Row:
    """Return `scores` with D in Dc of each film."""
    scaled = [
        replace(
            one, D=one.D / c, error=one.error / c, ends68=scaled_ends(one.ends68, c), ends95=scaled_ends(one.ends95, c)
        )
        for one, c in zip(said, Dc, strict=True)
    ]
    return scores([replace(one, D=one.D / c) for one, c in zip(questions, Dc, strict=True)], scaled)


def scaled_ends(ends: Ends, unit: float) -> Ends:
    """Return both ends over `unit`."""
    return ends[0] / unit, ends[1] / unit


def without_domains(measured: Measured) -> None:
    """Pictures that show no domains, said to come from each instrument: the shares that are answered."""
    from tests.support.no_domains import no_domains

    pictures = [picture.astype(np.float32) for seed in range(3) for picture in no_domains(seed).values()]
    for instrument in INSTRUMENTS:
        said = measured.ask(
            Question((one,), pixel, known, dmi="interfacial", instrument=instrument)
            for one in pictures
            for known in MATERIALS.values()
            for pixel in PIXELS_NM
        )
        answered = {trust: shares(said, trust) for trust in ("trusted", "doubtful")}
        measured.add("no domains", f"any-film, {instrument}", {"answers": len(said)} | answered)
    for name in OLD:
        said = measured.ask(Question((one,), 2.0, {}, estimator=name) for one in pictures)
        measured.add("no domains", name, {"pictures": len(said), "trusted": shares(said, "trusted")})


def unlike(film: Film, random: np.random.Generator) -> dict[str, Film]:
    """Return the film with one number at a time beyond those of the training."""
    numbers = ReducedNumbers.of(film.Ms, film.Ku1, film.Aex, abs(film.D), film.cell_size[2], 1.0)
    changed = {
        "Q1 below 0.01": replace(numbers, Q1=random.uniform(0.003, 0.01)),
        "Q1 above 8": replace(numbers, Q1=random.uniform(8, 16)),
        "d from 0.98 to 1.3": replace(numbers, d=random.uniform(0.98, 1.3)),
        "d from 1.3 to 2": replace(numbers, d=random.uniform(1.3, 2)),
        "t/Δ above 8": replace(numbers, tau=random.uniform(8, 20) * numbers.delta),
        "walls of a cell": replace(numbers, delta=random.uniform(0.6, 1.2) * CELL),
    }
    films = {}
    for name, one in changed.items():
        constants = one.constants(film.Ms, 1.0)
        thickness = min(constants.pop("thickness"), 90 * CELL)
        films[name] = replace(film, cell_size=(CELL, CELL, thickness), sigma=min(film.sigma, 0.3 * one.Q1), **constants)
    return films


def unlike_training(measured: Measured) -> None:
    """Films outside of the trained numbers: the share that is wrong by more than two bars and called trusted."""
    random = np.random.default_rng(2)
    base = of_design(max(2, measured.films // 25), measured.side, 2, histories={"minimised": 1.0}, beyond=0)
    named = [(name, film) for one in base for name, film in unlike(one, random).items()]
    images = {film.film_id: image for film, image, _ in measured.simulated([film for _, film in named])}
    for name in dict.fromkeys(name for name, _ in named):
        films = [film for one, film in named if one == name and film.film_id in images]
        for names in ((), ("Aex",)):
            asked = [whole_question(plausible(film), (images[film.film_id],), *names) for film in films]
            title = f"{name}, Aex {'known' if names else 'unknown'}"
            measured.add("outside of the training", title, wrongness(asked, measured.ask(asked)))


def wrongness(questions: Sequence[Question], said: Sequence[Said]) -> Row:
    """Return shares of answers that are wrong by more than two bars: all, and those that are called trusted."""
    wrong = [
        np.isfinite(one.D) and abs(one.D - abs(q.D)) > 2 * one.error for q, one in zip(questions, said, strict=True)
    ]
    silent = [bad and one.trust == "trusted" for bad, one in zip(wrong, said, strict=True)]
    row = {"answers": len(said), "wrong": mean(wrong), "wrong and trusted": mean(silent)}
    return row | {trust: shares(said, trust) for trust in ("doubtful", "refused")}


def wrong_constants(measured: Measured) -> None:
    """Films of the design that are told with a constant that is wrong, as if it were exact."""
    random = np.random.default_rng(3)
    some = [one for one in measured.designed if in_window(one[0])][: max(4, measured.films // 20)]
    changes = {"Ms 10 %": ("Ms", 1.1), "Keff 30 %": ("Keff", 1.3), "Aex 30 %": ("Aex", 1.3)}
    changes |= {"thickness 30 %": ("thickness", 1.3), "pixel 30 %": ("pixel", 1.3), "pixel twice": ("pixel", 2.0)}
    asked = [(film, view_question(film, image, random, False, **told(film, "Aex"))) for film, image in some]
    for title, (name, factor) in changes.items():
        questions = []
        for film, one in asked:
            if one is None:
                continue
            known = {key: value for key, value in one.known.items() if key != "Ku1"} | {"Keff": film.Keff}
            known |= {name: known[name] * factor} if name in known else {}
            pixel_nm = one.pixel_nm * (factor if name == "pixel" else 1)
            questions.append(replace(one, known=known, pixel_nm=pixel_nm))
        measured.add("wrong constants", f"{title} too large", wrongness(questions, measured.ask(questions)))


def false_refusals(measured: Measured) -> None:
    """Pictures of films within the training and the window, exact constants: what is refused or doubted, and why."""
    random = np.random.default_rng(4)
    some = [one for one in measured.designed if in_window(one[0])][: max(4, measured.films // 4)]
    for microscope in (False, True):
        asked = [(film, view_question(film, image, random, microscope, **told(film, "Aex"))) for film, image in some]
        kept = [(film, one) for film, one in asked if one is not None]
        questions = [one for _, one in kept]
        said = measured.ask(questions)
        row = relative(questions, said, critical(film for film, _ in kept))
        for reason in reasons_of(said):
            row[reason] = sum(any(kind(text) == reason for text in one.reasons) for one in said) / len(said)
        name = "microscope" if microscope else "as they are"
        measured.add("false refusals", f"{name}, Aex known, D/Dc", row)


def kind(reason: str) -> str:
    """Return the words by which reasons of one kind begin."""
    return " ".join(reason.split()[:5])


def reasons_of(said: Sequence[Said]) -> list[str]:
    """Return the kinds of reasons."""
    return list(dict.fromkeys(kind(text) for one in said for text in one.reasons))


def several(measured: Measured) -> None:
    """Several pictures of one film, of two films, and the same picture twice."""
    side, protocol = 2 * measured.side, {"minimised": 0.6, "demagnetised": 0.4}
    films = of_design(max(4, measured.films // 16), side, 3, histories=protocol, beyond=0)
    done = [(plausible(film), image) for film, image, converged in measured.simulated(films) if converged]
    half, third = side // 2, side * 3 // 8
    windows = [(image[:half, :half], image[half:, half:], image[-third:, -third:]) for _, image in done]
    others = windows[1:] + windows[:1]
    given: dict[str, list[tuple[Picture, ...]]] = {
        "one picture": [(a,) for a, _, _ in windows],
        "two windows": [(a, b) for a, b, _ in windows],
        "two scales": [(a, c) for a, _, c in windows],
        "the same twice": [(a, a) for a, _, _ in windows],
        "of two films": [(a, b) for (a, _, _), (_, b, _) in zip(windows, others, strict=True)],
    }
    Dc, alone = critical(film for film, _ in done), list[Said]()
    for title, pictures in given.items():
        questions = [whole_question(film, some, "Aex") for (film, _), some in zip(done, pictures, strict=True)]
        said = measured.ask(questions)
        alone = alone or said
        both = [(a, b) for a, b in zip(said, alone, strict=True) if np.isfinite(a.D + b.D)]
        row = relative(questions, said, Dc)
        if both:
            row["bar over one picture's"] = float(np.median([a.error / b.error for a, b in both]))
            row["largest shift, bars"] = float(max(abs(a.D - b.D) / b.error for a, b in both))
            flagged = [
                one.trust == "refused" or one.error > 1.5 * was.error for one, was in zip(said, alone, strict=True)
            ]
            row["refused or 1.5 times as wide"] = mean(flagged)
        measured.add("several pictures", f"{title}, D/Dc", row)


def seconds(measured: Measured) -> None:
    """The seconds of an answer on two cores: of the command, and of a process that has answered before."""
    from PIL import Image

    film, image = next(one for one in measured.designed if in_window(one[0]))
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:2])
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    question = whole_question(film, (image,), "Aex")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        Image.fromarray(image).save(path)
        known = [f"--{name}={value}" for name, value in in_units(question.known).items()]
        command = [
            sys.executable,
            "-m",
            "magray",
            "estimate",
            str(path),
            f"--pixel-nm={question.pixel_nm}",
            "--force",
            *known,
        ]
        cold = []
        for _ in range(3):
            start = time.perf_counter()
            ended = subprocess.run(command, check=False, capture_output=True, env=environment)
            cold.append(time.perf_counter() - start)
            if ended.returncode not in (0, 3):  # 3: refused
                raise RuntimeError(ended.stderr.decode())
    import torch

    answer(question)
    torch.set_num_threads(2)
    warm = [answer(question).seconds for _ in range(10)]
    os.sched_setaffinity(0, allowed)
    row = {"first, s": cold[0], "cold, s": float(np.median(cold)), "warm, s": float(np.median(warm))}
    measured.add("seconds", "an answer on two cores", row)


def in_units(known: dict[str, float]) -> dict[str, str]:
    """Return constants as the command line takes them."""
    units = {"Ms": "A/m", "Ku1": "J/m3", "Aex": "J/m", "thickness": "m"}
    return {name: f"{value!r} {units[name]}" for name, value in known.items()}


PARTS = {
    "co-like": co_like,
    "cells": cells,
    "histories": histories,
    "no-domains": without_domains,
    "outside": unlike_training,
    "wrong-constants": wrong_constants,
    "false-refusals": false_refusals,
    "several": several,
    "seconds": seconds,
}


def main() -> None:
    """Print the table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=("cupy", "cpu"), default="cupy")
    parser.add_argument("--films", type=int, default=2000, help="of the design; other rows take parts of it")
    parser.add_argument("--side", type=int, default=256, help="cells; some films have twice as many")
    parser.add_argument("--processes", type=int, default=max(1, len(os.sched_getaffinity(0)) - 2))
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--output", type=Path, default=Path("any-film.json"))
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # of the processes
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        measured = Measured(options.backend, options.films, options.side, pool)
        for name in options.parts:
            start = time.perf_counter()
            PARTS[name](measured)
            print(f"# {name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
            options.output.write_text(json.dumps(measured.rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
