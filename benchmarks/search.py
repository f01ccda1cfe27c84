"""A search beside an exhaustive one: its cost, and whether it finds as good a set.

    magray search configs/searches/dmi.yaml && magray search configs/searches/dmi.yaml --exhaustive
    python -m benchmarks.search runs/searches/dmi/search.parquet

Both ways lie in one table. Compared is what they make of sets with the fewest views: to those the exhaustive way keeps,
and a range of scales is no set. Costs are views learned. "As good": the set that the search finds best, trained as the
exhaustive way trains all sets, errs by no more than the best of them, give or take what another seed does to it.
"""

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from magray.config import ScaleSet
from magray.errors import UserError
from magray.search.trials import CandidateGroup, Row, Strategy, least_wrong, options, read_trials

QUARTER = 0.25  # of the exhaustive way's cost: what a search is to stay below


@dataclass(frozen=True)
class Way:
    """One way to search, and the trials that look for the best set (those that only confirm it cost both the same)."""

    name: str
    trials: list[Row]

    @classmethod
    def of(cls, name: Strategy, rows: Iterable[Row], budget: int) -> "Way":
        """Return a table's trials of sets with a budget of views."""
        mine = (row for row in rows if row["how"] == name and row["budget"] == budget)
        return cls(name, [row for row in mine if not ScaleSet.parse(row["train_set"]).is_range])

    @property
    def exploring(self) -> list[Row]:
        """Trials of the sets, each with one seed and all films."""
        return [row for row in self.trials if row["step"] == "explore"]

    @property
    def cost(self) -> int:
        """Views."""
        return sum(row["views"] for row in self.exploring)

    @property
    def best(self) -> CandidateGroup:
        """Return the finished candidate of least error, with all films. Raises UserError if there is none."""
        best = least_wrong(options(row for row in self.trials if row["step"] != "films"))
        if best is None:
            raise UserError(f"the table has no finished trial of the {self.name} way; run magray search both ways")
        return best


def seed_spread(rows: Iterable[Row]) -> float:
    """The standard deviation of the worst error between seeds, pooled over all options; NaN without several seeds."""
    groups: dict[tuple[object, ...], list[float]] = defaultdict(list)
    for row in rows:
        if row["status"] == "finished":
            names = ("how", "train_set", "learning_rate", "schedule", "width", "budget", "films")
            groups[tuple(row[name] for name in names)].append(row["worst"])
    several = [group for group in groups.values() if len(group) > 1]
    if not several:
        return math.nan
    free = sum(len(group) - 1 for group in several)
    return math.sqrt(sum(statistics.variance(group) * (len(group) - 1) for group in several) / free)


def error_of(train_set: str, way: Way) -> float:
    """The worst error of a set in the exhaustive way, the mean over its seeds; NaN if it was not tried."""
    found = options(row for row in way.trials if row["train_set"] == train_set and row["step"] != "films")
    return found[0].worst if found else math.nan


def table_of(ways: Iterable[Way]) -> Table:
    """A line for each way."""
    table = Table("way", "trials", "stopped", "views", "seconds", "best set, µm", "worst error", "its seeds")
    for way in ways:
        rows, best = way.exploring, way.best
        spread = f"{best.worst:.2%} ({best.least:.2%} to {best.most:.2%})"
        stopped = sum(row["status"] == "stopped" for row in rows)
        seconds = sum(row["seconds"] for row in rows)
        cells = (len(rows), stopped, f"{way.cost:,}", f"{seconds:.0f}", best.candidate.train_set, spread, best.seeds)
        table.add_row(way.name, *map(str, cells))
    return table


def verdict(search: Way, every: Way, spread: float) -> str:
    """Is the search's set as good, and at what part of the cost? spread: between seeds.

    Raises UserError if that is NaN, since no option has several seeds.
    """
    mine, least = error_of(str(search.best.candidate.train_set), every), every.best.worst
    if math.isnan(spread):
        raise UserError("no option was trained with several seeds, so that luck cannot be told from merit; set seeds")
    as_good = mine - least <= 2 * spread
    part = search.cost / every.cost
    return (
        f"{search.best.candidate.train_set} µm, trained as all sets were, errs by {mine:.2%}, and the best of all by "
        f"{least:.2%}; the difference is {'within' if as_good else 'beyond'} two standard deviations between seeds "
        f"({spread:.2%} each). The search took {part:.0%} of the exhaustive cost: "
        f"{'a quarter or less' if part <= QUARTER else 'more than a quarter'}."
    )


def main() -> None:
    """Print a table of both ways, and the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="search.parquet, after both ways")
    rows = read_trials(parser.parse_args().table).to_pylist()
    fewest = min((row["budget"] for row in rows), default=0)
    search, every = (Way.of(name, rows, fewest) for name in ("search", "exhaustive"))
    console = Console(width=140)
    try:
        console.print(table_of([search, every]))
        console.print(verdict(search, every, seed_spread(rows)), highlight=False)
    except UserError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
