"""The trials of a search: their table, groups of equal candidates, and the cheapest that is good enough.

A candidate is a way to train: a set or range of scales, a network's width, a learning rate, a schedule, and numbers of
views and films. Its cost is the number of views that it is trained on (pictures × epochs); among equals, the number of
films, which have to be simulated.
"""

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pyarrow as pa
from pydantic import (
    BaseModel,
    Field,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from magray.config import ScaleSet
from magray.errors import UserError
from magray.files.atomic import read_table, write_table
from magray.files.parquet import complete
from magray.files.records import NotNegative, Positive, Text
from magray.training.schedule import Schedule

Strategy = Literal["search", "exhaustive"]
Row = dict[str, Any]
MADE_FROM = b"magray.search"  # key in the table's metadata: a fingerprint of the films and settings of all trials

SEARCH = complete(
    [
        ("trial", pa.string()),
        ("how", pa.string()),  # search, exhaustive
        ("step", pa.string()),  # explore; range; films: with fewer of them; again: with another seed
        ("train_set", pa.string()),  # µm
        ("learning_rate", pa.float64()),
        ("schedule", pa.string()),
        ("width", pa.float64()),  # of the network, relative to the paper's
        ("budget", pa.int64()),  # views of a trial that is not stopped
        ("films", pa.int64()),  # to train on
        ("seed", pa.int64()),
        ("status", pa.string()),  # finished; stopped: others were better at the same rung; failed
        ("views", pa.int64()),  # that it was trained on
        ("seconds", pa.float64()),
        ("worst", pa.float64()),  # mean absolute error at the worst test scale, as a part of the parameter's range
        ("worst_scale", pa.float64()),  # µm
        ("curve", pa.list_(pa.float64())),  # worst error after 1/9, 1/3 and all of its budget
        ("test_scales", pa.list_(pa.float64())),  # µm
        ("errors", pa.list_(pa.float64())),  # at each of them
    ]
)


class _Trial(BaseModel):
    """A row of SEARCH, for validation."""

    trial: Text
    how: Strategy
    step: Text
    train_set: Text
    learning_rate: Positive
    schedule: Schedule
    width: Positive
    budget: PositiveInt
    films: PositiveInt
    seed: NonNegativeInt
    status: Literal["finished", "stopped", "failed"]
    views: NonNegativeInt
    seconds: NotNegative
    worst: float
    worst_scale: float
    curve: list[float]
    test_scales: Annotated[list[Positive], Field(min_length=1)]
    errors: list[float]

    @model_validator(mode="after")
    def _has_errors(self) -> Self:
        ScaleSet.parse(self.train_set)
        if self.status != "failed" and len(self.errors) != len(self.test_scales):
            raise ValueError("errors: not one for each of test_scales")
        return self


@dataclass(frozen=True)
class Candidate:
    """The settings of one trial of a search."""

    train_set: ScaleSet
    learning_rate: float
    schedule: Schedule
    budget: int
    films: int
    seed: int
    width: float = 1.0

    @property
    def scales(self) -> tuple[float, ...]:
        """Return its training scales, or the ends of its range; µm."""
        return self.train_set.scales_um

    def key(self, how: Strategy) -> str:
        """Return the name of the trial, which depends on its settings and the strategy only."""
        return hashlib.sha256(json.dumps([how, self.row()]).encode()).hexdigest()[:12]

    @classmethod
    def of(cls, row: Row) -> "Candidate":
        """Return the candidate of a row of SEARCH, or of any mapping with its fields."""
        values = {field.name: row[field.name] for field in fields(cls)}
        return cls(**values | {"train_set": ScaleSet.parse(values["train_set"])})

    def row(self) -> Row:
        """Return the candidate as part of a row of SEARCH."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"train_set": str(self.train_set)}


@dataclass(frozen=True)
class CandidateGroup:
    """The finished trials of candidates that differ in their seeds only.

    candidate: the one with the lowest seed. worst: the mean worst error over seeds; least, most: its range.
    test_scales: µm. errors: at each test scale, means over seeds.
    """

    candidate: Candidate
    seeds: int
    worst: float
    least: float
    most: float
    test_scales: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def cost(self) -> tuple[int, int, int, float]:
        """Return the key that orders candidates: views, then films, number of scales, and error."""
        one = self.candidate
        return one.budget, one.films, len(one.scales), self.worst

    @property
    def worst_scale(self) -> float:
        """Return the scale of the largest error, µm."""
        return self.test_scales[self.errors.index(max(self.errors))]


def options(rows: Iterable[Row]) -> list[CandidateGroup]:
    """Return the groups of candidates among finished trials, the cheapest first."""
    groups: dict[Candidate, list[Row]] = defaultdict(list)
    for row in rows:
        if row["status"] == "finished":
            groups[Candidate.of(row | {"seed": 0})].append(row)
    return sorted((_group(group) for group in groups.values()), key=lambda option: option.cost)


def pareto_front(found: Iterable[CandidateGroup]) -> list[CandidateGroup]:
    """Return the Pareto front of cost against worst error: all that is cheaper than one of these has a larger error."""
    best: list[CandidateGroup] = []
    for option in sorted(found, key=lambda option: option.cost):
        if not best or option.worst < best[-1].worst:
            best.append(option)
    return best


def cheapest(found: Iterable[CandidateGroup], tolerance: float) -> CandidateGroup | None:
    """Return the cheapest group whose worst error is at most `tolerance`, or None."""
    return min((option for option in found if option.worst <= tolerance), key=lambda one: one.cost, default=None)


def least_wrong(found: Iterable[CandidateGroup]) -> CandidateGroup | None:
    """Return the group with the smallest worst error, or None."""
    return min(found, key=lambda option: option.worst, default=None)


def within(option: CandidateGroup, tolerance: float) -> tuple[float, float] | None:
    """Return the ends, µm, of the longest run of test scales with errors within `tolerance`; None if there is none."""
    runs: list[list[float]] = [[]]
    for scale, error in sorted(zip(option.test_scales, option.errors, strict=True)):
        if error <= tolerance:
            runs[-1].append(scale)
        elif runs[-1]:
            runs.append([])
    longest = max(runs, key=lambda run: run[-1] - run[0] if run else -1.0)
    return (longest[0], longest[-1]) if longest else None


def max_scale_gap(option: CandidateGroup) -> float:
    """Return the largest distance of a test scale from the nearest trained one, µm."""
    low, *_, high = (*option.candidate.scales, option.candidate.scales[-1])
    if option.candidate.train_set.is_range:
        return max(max(low - test, test - high, 0.0) for test in option.test_scales)
    return max(min(abs(test - scale) for scale in option.candidate.scales) for test in option.test_scales)


@dataclass(frozen=True)
class SearchResult:
    """The result of one strategy. answer: None if nothing stays within the tolerance. best: with the least error."""

    answer: CandidateGroup | None
    best: CandidateGroup
    options: list[CandidateGroup]
    trials: list[Row]

    @classmethod
    def of(cls, rows: Iterable[Row], how: Strategy, tolerance: float) -> "SearchResult":
        """Return the result of a finished strategy's rows. Raises UserError if none of them is finished."""
        trials = [row for row in rows if row["how"] == how]
        found = options(trials)
        best = least_wrong(found)
        if best is None:
            raise UserError("no trial of the search was finished; the lines above say why they failed")
        return cls(cheapest(found, tolerance), best, found, trials)


class Trials:
    """The table SEARCH in a file, with a row for each trial that has ended. Every change replaces the whole file."""

    def __init__(self, path: Path, made_from: str) -> None:
        self.path, self.made_from = path, made_from
        self.rows: dict[str, Row] = {}

    def read(self) -> None:
        """Read the file, if there is one, without trials that failed, so that they are run again.

        Raises UserError if it holds trials of other films or settings.
        """
        if not self.path.exists():
            return
        table = read_trials(self.path)
        if (table.schema.metadata or {}).get(MADE_FROM, b"").decode(errors="replace") != self.made_from:
            raise UserError(f"{self.path} holds a search over other films, test scales or settings; move it away")
        self.rows = {row["trial"]: row for row in table.to_pylist() if row["status"] != "failed"}

    def add(self, row: Row) -> None:
        """Add the row of a trial that has ended, and write the file."""
        self.rows[row["trial"]] = row
        table = pa.Table.from_pylist(list(self.rows.values()), schema=SEARCH)
        write_table(table.replace_schema_metadata({MADE_FROM: self.made_from}), self.path)

    def of(self, how: Strategy, step: str | None = None) -> list[Row]:
        """Return the rows of one strategy, or of one of its steps, in the order in which they ended."""
        return [row for row in self.rows.values() if row["how"] == how and step in (None, row["step"])]


def read_trials(path: Path) -> pa.Table:
    """Return the table SEARCH in a file. Raises UserError if there is none, or no search wrote it.

    Trials whose errors are not finite, which older versions recorded as finished, are returned as failed.
    """
    if not path.exists():
        raise UserError(f"there is no {path}; magray search writes it")
    table = read_table(path, SEARCH)
    rows = table.to_pylist()
    try:
        TypeAdapter(list[_Trial]).validate_python(rows, strict=True)
    except (ValidationError, UserError) as error:
        raise UserError(f"{path} holds trials that no search writes; move it away") from error
    failed = [row | {"status": "failed"} if _diverged(row) else row for row in rows]
    return pa.Table.from_pylist(failed, schema=SEARCH.with_metadata(table.schema.metadata))


def _diverged(row: Row) -> bool:
    """Return whether an error of a trial is not finite."""
    return not all(map(math.isfinite, (row["worst"], *row["curve"], *row["errors"])))


def _group(rows: Sequence[Row]) -> CandidateGroup:
    """Return the group of trials that differ in their seeds only."""
    rows = sorted(rows, key=lambda row: row["seed"])
    worst = [row["worst"] for row in rows]
    errors = [sum(at) / len(rows) for at in zip(*(row["errors"] for row in rows), strict=True)]
    return CandidateGroup(
        candidate=Candidate.of(rows[0]),
        seeds=len(rows),
        worst=sum(worst) / len(worst),
        least=min(worst),
        most=max(worst),
        test_scales=tuple(rows[0]["test_scales"]),
        errors=tuple(errors),
    )
