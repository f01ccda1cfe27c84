"""A design: films of every perpendicular material, spread evenly over their reduced numbers by a Sobol sequence.

All films have the same cells and the same Ms: a picture of one of them is that of every film that is its scaled copy
(`magray.films.reduced`). A point of the sequence gives t/Δ, d, the exponent π s, and the width of walls in cells. Q1
follows. The exponent, and not Q1, is drawn because it decides the period (`magray.films.reduced.stripe_period`): so the
periods are spread evenly, too. Points outside of the range of Q1 are left out, and so are periods of more
than a third of the window, except for a share of the films, up to WIDEST times that length. In a further share, the
spirals, D is then raised beyond the range of d.

A film's history is one of HISTORIES. All begin with random moments, in squares whose side is the design's and not a
cell's, and end with a minimisation; the numbers of what lies between are part of the design, too.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from magray.errors import UserError
from magray.films.film import MOST_ELONGATED, Dmi, Film
from magray.films.protocol import Demagnetise, Initial, Minimize, Protocol, Quench, Random, Stage
from magray.films.reduced import Number, ReducedNumbers, profile_narrowing, stray_energy, stripe_period
from magray.units import BOLTZMANN, GAMMA0

History = Literal["minimised", "quenched", "thermal", "demagnetised"]
HISTORIES: tuple[History, ...] = ("minimised", "quenched", "thermal", "demagnetised")
KINDS: tuple[Dmi, ...] = ("interfacial", "bulk")

# of a point in the unit cube; `first` and `second` decide the details of a history
COORDINATES = (
    *("t_over_wall_width", "wall_width", "exponent", "d", "sigma", "grain", "dmi", "history"),
    *("first", "second", "spiral"),
)

Range = tuple[float, float]
Columns = dict[str, NDArray[np.float64]]

EXPONENTS = (0.05, 3.5)  # below, walls cost almost nothing, and the domains are as wide as their walls
EVEN = 1.4  # power of the coordinate of d: without it, films of low d are rare, since most of them have too low a Q1
SPIRALS_TO = 1.5  # D over Dc
PERIODS_IN_WINDOW = 3  # at least, in most films
WIDEST = 11.0  # a period, over a third of the window
PINNED = 0.65  # of Keff, at most: how much it may differ from wall to wall (`largest_sigma`)
WARMEST = 300.0  # K
STIFFNESS = 4.0  # Aex t / kT, at least: hotter moments would be disordered from cell to cell
DAMPINGS = (0.05, 1.0)  # of a quench
QUENCH_STEPS = (
    100.0,
    800.0,
)  # of a quench, each of which takes a demagnetising field
INNER_STEPS, STIFFEST, COUPLED = 7, 2.5, 0.5  # what limits a step, as in magray.micromagnetics.llg
DEMAGNETISING_STEPS, FALL = 6, 8.0  # fields of a demagnetisation, and the first of them over the last
PERPENDICULAR, IN_PLANE = (0.4, 0.9), (0.5, 1.1)  # its first field, in the field that saturates the film
LOOSE = 3e-3  # Ms, torque that is left in each of these fields
POINTS_AT_ONCE = 2**13  # of the sequence
SPARSEST = 32  # points a film, at most: about three are enough for the designs in configs/any-film
TILT = 0.02  # rad, before each of these fields


@dataclass(frozen=True)
class Design:
    """A number of films and the ranges of their numbers. SI units.

    cell_size: of dx and dy. wall_width: of a wall's profile, Δ of a thin film. sigma: the largest. grain_size: of the
    half of all films that has grains; in the others each cell is one. beyond: share of films whose period is more than
    a third of the window. spirals: share of films with a D above d, up to SPIRALS_TO. start: of the squares that begin
    with one random direction. histories: shares, which are normalised. torque, max_evaluations: of the last stage.
    """

    films: int
    seed: int
    cells: tuple[int, int]
    cell_size: float
    Ms: float
    Q1: Range
    t_over_wall_width: Range
    wall_width: Range
    d: Range
    sigma: float
    grain_size: Range
    beyond: float
    spirals: float
    start: float
    histories: Mapping[History, float]
    torque: float
    max_evaluations: int


def draw(design: Design) -> list[Film]:
    """Return the films of a design. Film i depends on the design's ranges, its seed and i, not on their number."""
    points, count = sobol_points(design), design.films
    seeds = np.random.Generator(np.random.Philox(design.seed)).integers(2**63, size=count).tolist()
    return [_film(design, point, seed) for point, seed in zip(_rows(points), seeds, strict=True)]


def sobol_points(design: Design) -> Columns:
    """Return the columns of a design's points, one row for each film.

    Raises UserError if hardly any point becomes a film.
    """
    from scipy.stats import qmc  # takes a second, which every command would pay

    sampler = qmc.Sobol(len(COORDINATES), scramble=True, rng=np.random.default_rng(design.seed))
    parts, films, wide = [], 0, 0
    for _ in range(SPARSEST * (2 + design.films // POINTS_AT_ONCE)):
        columns = _columns(design, sampler.random(POINTS_AT_ONCE).T)
        kept, wide = _kept(design, columns, films, wide)
        parts.append({name: values[kept] for name, values in columns.items()})
        films += len(kept)
        if films >= design.films:
            return {name: np.concatenate([part[name] for part in parts])[: design.films] for name in columns}
    raise UserError("design: hardly any film lies in the range of Q1 and has domains in the window; widen one of them")


def _columns(design: Design, points: NDArray[np.float64]) -> Columns:
    at = dict(zip(COORDINATES, points, strict=True))
    ratio = _log_between(design.t_over_wall_width, at["t_over_wall_width"])
    d = _between(design.d, at["d"] ** EVEN)
    exponent = _between(EXPONENTS, at["exponent"])
    Q1 = exponent * ratio / (2 * np.pi * (1 - d))
    width = _between(design.wall_width, at["wall_width"]) / profile_narrowing(Q1, ratio)
    shares = np.array([design.histories.get(history, 0.0) for history in HISTORIES])
    grain_size = np.where(at["grain"] < 0.5, 0.0, _between(design.grain_size, 2 * at["grain"] - 1))
    above = 1 - (1 - at["spiral"]) / max(design.spirals, 1e-9)  # 0…1 in the share of the spirals
    return {
        "Q1": Q1,
        "thickness": ratio * width,
        "wall_width": width,
        "d": np.where(above > 0, _between((design.d[1], SPIRALS_TO), above), d),
        "sigma": at["sigma"] * np.minimum(design.sigma, largest_sigma(Q1, width, grain_size, design.cell_size)),
        "grain_size": grain_size,
        "dmi": np.floor(2 * at["dmi"]),
        "history": np.searchsorted(np.cumsum(shares / shares.sum())[:-1], at["history"], side="right").astype(float),
        "period": stripe_period(width, ratio, exponent),
        "first": at["first"],
        "second": at["second"],
    }


def largest_sigma(Q1: Number, width: Number, grain_size: Number, cell_size: float) -> Number:
    """Return the σ at which Keff differs by PINNED from wall to wall.

    A wall feels the mean Ku1 of the (Δ / grain)² grains, or cells, that lie in it, and Ku1 is 1 + 1 / Q1 times Keff.
    """
    return PINNED * Q1 / (1 + Q1) * width / np.maximum(grain_size, cell_size)


def _kept(design: Design, columns: Columns, films: int, wide: int) -> tuple[list[int], int]:
    """Return the numbers of the points that become films, and how many films have periods beyond the window by now.

    films, wide: how many there are before them, and how many of those have such periods.
    """
    window = min(design.cells) * design.cell_size / PERIODS_IN_WINDOW
    possible = (design.Q1[0] <= columns["Q1"]) & (columns["Q1"] <= design.Q1[1])
    possible &= (columns["period"] <= WIDEST * window) & (columns["thickness"] < MOST_ELONGATED * design.cell_size)
    beyond = columns["period"] > window
    kept: list[int] = []
    for point in np.flatnonzero(possible).tolist():
        if not beyond[point]:
            kept.append(point)
        elif wide < design.beyond * (films + len(kept) + 1):
            kept.append(point)
            wide += 1
    return kept, wide


def _between(limits: Range, x: Number) -> Number:
    return limits[0] + (limits[1] - limits[0]) * x


def _log_between(limits: Range, x: Number) -> Number:
    return limits[0] * (limits[1] / limits[0]) ** x


def _rows(columns: Columns) -> Iterator[dict[str, float]]:
    for values in zip(*(column.tolist() for column in columns.values()), strict=True):
        yield dict(zip(columns, values, strict=True))


def _film(design: Design, point: dict[str, float], seed: int) -> Film:
    numbers = ReducedNumbers(point["Q1"], point["thickness"], point["wall_width"], point["d"])  # the pixel is 1 m
    constants = numbers.constants(design.Ms, pixel=1.0)
    thickness = constants.pop("thickness")
    return Film(
        cells=design.cells,
        cell_size=(design.cell_size, design.cell_size, thickness),
        dmi=KINDS[int(point["dmi"])],
        sigma=point["sigma"],
        grain_size=point["grain_size"],
        seed=seed,
        protocol=protocol_of(
            HISTORIES[int(point["history"])],
            point,
            design.Ms,
            design.cell_size,
            Random(design.start),
            Minimize(design.torque, design.max_evaluations),
        ),
        **constants,
    )


def protocol_of(
    history: History, point: Mapping[str, float], Ms: float, cell_size: float, start: Initial, last: Minimize
) -> Protocol:
    """Return the protocol of a film with a history, which begins with `start` and ends with `last`. SI units.

    point: Q1, thickness, wall_width and period of the film; and first and second, 0…1, the details of the history.
    """
    before: tuple[Stage, ...] = ()
    if history == "demagnetised":
        before = (_demagnetisation(point, Ms, last.max_evaluations),)
    elif history != "minimised":
        stiffness = point["Q1"] * stray_energy(Ms) * point["wall_width"] ** 2 * point["thickness"]  # Aex t
        warm = min(WARMEST, stiffness / (STIFFNESS * BOLTZMANN)) if history == "thermal" else 0.0
        before = (_quench(point, Ms, cell_size, warm),)
    return Protocol(start, (*before, last))


def _quench(point: Mapping[str, float], Ms: float, cell_size: float, temperature: float) -> Quench:
    """Return a quench whose duration takes about as many steps as `second` says, whatever the film's exchange."""
    alpha = _log_between(DAMPINGS, point["first"])
    exchange = 8 * (point["wall_width"] / cell_size) ** 2 * point["Q1"]  # between neighbours, Ms
    step = min(COUPLED, 2 * alpha, INNER_STEPS * STIFFEST / (exchange + 2 + point["Q1"]))
    duration = _log_between(QUENCH_STEPS, point["second"]) * step * math.sqrt(1 + alpha**2) / (GAMMA0 * Ms)
    return Quench(alpha, duration, temperature)


def _demagnetisation(point: Mapping[str, float], Ms: float, max_evaluations: int) -> Demagnetise:
    """Return a field that decays along z, or along any axis in the plane, from about that which saturates the film.

    Stripes vanish along z at about 2 t / period Ms if the film is thin, and at Ms if it is thick; Keff resists a field
    in the plane up to Q1 Ms.
    """
    part, angle = point["second"], 2 * math.pi * (point["first"] - 0.5)
    if point["first"] < 0.5:
        over = 2 * point["thickness"] / point["period"]
        start, direction = _between(PERPENDICULAR, part) * over / (1 + over), (0.0, 0.0, 1.0)
    else:
        start, direction = _between(IN_PLANE, part) * point["Q1"], (math.cos(angle), math.sin(angle), 0.0)
    start *= Ms
    return Demagnetise(
        start,
        start / FALL,
        direction,
        steps=DEMAGNETISING_STEPS,
        noise=TILT,
        torque=LOOSE,
        max_evaluations=max_evaluations,
    )


def reduced_numbers(films: pa.Table) -> Columns:
    """Return Q1, d, s, Δ (m) and t/Δ of each film of a plan or a store; NaN where a film lies in the plane."""
    constants = {name: films[name].to_numpy() for name in ("Ms", "Ku1", "Aex", "D")}
    thickness = films["dz"].to_numpy()
    numbers = ReducedNumbers.of(**constants, thickness=thickness, pixel=1.0)
    columns = {"Q1": numbers.Q1, "d": numbers.d, "s": numbers.s, "wall_width": numbers.delta}
    return columns | {"t_over_wall_width": thickness / numbers.delta}


def reduced_columns(films: pa.Table) -> pa.Table:
    """Return `reduced_numbers` and the history of each film of a plan or a store."""
    histories = [history_of(Protocol.from_json(text)) for text in films["protocol"].to_pylist()]
    return pa.table({**reduced_numbers(films), "history": histories})


def history_of(protocol: Protocol) -> History:
    """Return the kind of history that a film has by its protocol."""
    for stage in protocol.stages:
        if isinstance(stage, Demagnetise):
            return "demagnetised"
        if isinstance(stage, Quench):
            return "thermal" if stage.temperature else "quenched"
    return "minimised"
