"""Is a guided search as good as an exhaustive one, what does it cost, and how much faster is it on two GPUs?

    magray search configs/searches/dmi.yaml && magray search configs/searches/dmi.yaml --exhaustive
    python -m benchmarks.search again configs/searches/dmi.yaml
    CUDA_VISIBLE_DEVICES=0 python -m benchmarks.search gpus configs/searches/dmi.yaml
    CUDA_VISIBLE_DEVICES=0,1 python -m benchmarks.search gpus configs/searches/dmi.yaml

`again` compares both at the config's fewest views, to which the exhaustive search keeps, and without the ranges, which
are no sets. The best of many trials with one seed is also the luckiest. Therefore the ten best sets of both searches
are trained again with three other seeds, the way the exhaustive search trains all sets, and the ten best of the guided
search with its own settings as well. These trials are added to ten_best.parquet beside search.parquet as they end. What
this table holds is not repeated: an interrupted run continues, and a complete table is reported without films.

`gpus` times searches, for each share of a GPU that a trial may take: guided ones, and exhaustive ones over small sets,
whose work does not depend on the order in which trials end. It adds a row to a table after each search, and does not
repeat those that the table holds. Run it with one GPU and with two: it prints how much faster two are.
"""

import argparse
import math
import shutil
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from magray.config import Config, ScaleSet, SearchConfig, load_config, load_search
from magray.errors import UserError
from magray.files.atomic import read_table, write_table
from magray.files.parquet import complete
from magray.runtime.connect import connect
from magray.runtime.resources import gpus
from magray.search.run import SearchRun, search
from magray.search.trials import Candidate, Row, Strategy, Trials, read_trials
from magray.search.tune import concurrent_trials
from magray.store.lease import lease
from magray.store.location import locate

QUARTER = 0.25  # of the exhaustive search's views: what a guided search is to stay below
EVERY_SET, GUIDED, GUIDED_SETTINGS = "exhaustive", "guided", "guided, its own settings"
ALONE = ("ranges=[]", "seeds=1", "tolerance=1.0e-9")  # within which no trial stays: nothing follows the first trials
TIMES = complete(
    [
        ("search", pa.string()),  # the project's name
        ("how", pa.string()),  # search, exhaustive
        ("gpus", pa.int64()),
        ("gpu_share", pa.float64()),
        ("asked", pa.int64()),  # trials of a guided search, sets of an exhaustive one
        ("at_once", pa.int64()),  # trials
        ("stopped", pa.int64()),  # trials
        ("views", pa.int64()),
        ("trial_seconds", pa.float64()),  # of all trials
        ("start_up", pa.float64()),  # s until trials train: processes start, load torch and films
        ("seconds", pa.float64()),  # until the last trial has ended, start-up included
    ]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `again` or `gpus`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(required=True)
    again = actions.add_parser("again", help="train the best sets with other seeds, and compare both searches")
    again.add_argument("--best", type=int, default=10, help="sets of each search")
    again.add_argument("--seeds", type=int, default=3, help="other seeds of each set")
    again.set_defaults(run=run_again)
    timing = actions.add_parser("gpus", help="time searches on the GPUs that there are")
    timing.add_argument("--shares", type=float, nargs="+", default=[0.14, 1.0], help="of a GPU that a trial takes")
    timing.add_argument("--trials", type=int, default=64, help="of a guided search")
    timing.add_argument("--most-scales", type=int, default=2, help="in a set of an exhaustive search")
    timing.add_argument("--table", type=Path, default=Path("runs/searches/times.parquet"))
    timing.set_defaults(run=run_gpus)
    for action in (again, timing):
        action.add_argument("config", type=Path, help="YAML file of a search, as in configs/searches")
        action.add_argument("--set", dest="overrides", action="append", default=[], help="a key of it, as key=value")
    options = parser.parse_args(arguments)
    try:
        config = load_search(options.config, options.overrides)
        options.run(load_config(options.config.parent / config.project), config, options)
    except UserError as error:
        parser.exit(2, f"{error}\n")


def run_again(project: Config, config: SearchConfig, options: argparse.Namespace) -> None:
    """Train the best sets again where ten_best.parquet lacks them, and print tables and verdicts."""
    folder = config.folder(project)
    rows = read_trials(folder / "search.parquet").to_pylist()
    guided, every = Way.of("search", rows, config.views[0]), Way.of("exhaustive", rows, config.views[0])
    chosen = candidates(guided, every, options.best)
    path = folder / "ten_best.parquet"
    seeds = [config.seed + 1 + i for i in range(options.seeds)]
    train_again(project, config, path, [replace(one, seed=seed) for one in all_of(chosen) for seed in seeds])
    trained = read_trials(path).to_pylist()
    found = {name: [Again.of(one, trained) for one in group] for name, group in chosen.items()}
    console = Console(width=140)
    console.print(costs([guided, every]), errors(found))
    for line in verdicts(guided, every, found):
        console.print(line, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Way:
    """The trials of sets of one strategy, with the fewest views and the first seed, the best first."""

    name: Strategy
    trials: list[Row]

    @classmethod
    def of(cls, name: Strategy, rows: Iterable[Row], budget: int) -> "Way":
        """Return a strategy's trials with a budget of views. Raises UserError if none of them has an error.

        A stopped trial comes after those that went on for longer, since the others were better at the same rung.
        """
        explored = (row for row in rows if (row["how"], row["step"], row["budget"]) == (name, "explore", budget))
        mine = [row for row in explored if row["status"] != "failed" and not ScaleSet.parse(row["train_set"]).is_range]
        if not mine:
            raise UserError(f"the table has no {name} trials of {budget:,} views; run magray search both ways")
        return cls(name, sorted(mine, key=lambda row: (-len(row["curve"]), row["worst"])))

    @property
    def views(self) -> int:
        """Return the number of views of all trials."""
        return sum(row["views"] for row in self.trials)

    def best(self, count: int) -> list[Candidate]:
        """Return the best candidate of each of the `count` best sets."""
        candidates: dict[str, Candidate] = {}
        for row in self.trials:
            candidates.setdefault(row["train_set"], Candidate.of(row))
        return list(candidates.values())[:count]


def candidates(guided: Way, every: Way, count: int) -> dict[str, list[Candidate]]:
    """Return what is trained again, by groups: the best sets of both, and the guided search's own candidates."""
    best, own = every.best(count), guided.best(count)
    as_every = [replace(best[0], train_set=one.train_set) for one in own]
    return {EVERY_SET: best, GUIDED: as_every, GUIDED_SETTINGS: own}


def all_of(groups: Mapping[str, Sequence[Candidate]]) -> list[Candidate]:
    """Return the candidates of all groups, each once."""
    return list(dict.fromkeys(one for group in groups.values() for one in group))


def train_again(project: Config, config: SearchConfig, path: Path, wanted: Sequence[Candidate]) -> None:
    """Run the trials of candidates that the table at `path` lacks, without early stops, as many at once as in a search.

    Raises UserError if the films are not those of the search.
    """
    ended = read_trials(path).to_pylist() if path.exists() else []
    if {one.key("exhaustive") for one in wanted} <= {row["trial"] for row in ended if row["status"] != "failed"}:
        return
    connect()
    run = SearchRun.of(project, config, "exhaustive", print)
    run.trials.read()  # raises if the films are others
    trials, saved = Trials(path.absolute(), run.trials.made_from), run.runner.saved.with_name("ten-best")
    with lease(locate(str(saved)), print):
        trials.read()
        replace(run, trials=trials, runner=replace(run.runner, trials=trials, saved=saved)).run_all("again", wanted)
    shutil.rmtree(saved, ignore_errors=True)


@dataclass(frozen=True)
class Again:
    """A candidate and its worst errors with other seeds than the one that it was chosen by, as parts of the range."""

    candidate: Candidate
    worst: list[float]

    @classmethod
    def of(cls, candidate: Candidate, rows: Iterable[Row]) -> "Again":
        """Return a candidate's errors in the rows of ten_best.parquet. Raises UserError if there are none."""
        finished = (row for row in rows if row["status"] == "finished")
        worst = [row["worst"] for row in finished if replace(Candidate.of(row), seed=candidate.seed) == candidate]
        if not worst:
            raise UserError(f"every trial of {candidate.train_set} µm failed; the lines above say why")
        return cls(candidate, worst)

    @property
    def mean(self) -> float:
        """Return the mean over the seeds."""
        return statistics.mean(self.worst)

    @property
    def spread(self) -> float:
        """Return the standard deviation between the seeds; NaN of one."""
        return statistics.stdev(self.worst) if len(self.worst) > 1 else math.nan


def spread_of_seeds(tried: Iterable[Again]) -> float:
    """Return the standard deviation between seeds in the median over candidates: one outlier must not excuse all.

    Raises UserError if none has several seeds.
    """
    spreads = [one.spread for one in tried if len(one.worst) > 1]
    if not spreads:
        raise UserError(
            "no set was trained with several other seeds, so that luck cannot be told from merit; set --seeds"
        )
    return statistics.median(spreads)


def costs(ways: Iterable[Way]) -> Table:
    """Return a table with a line for each strategy."""
    table = Table("search", "trials", "stopped", "views", "seconds of trials", title="cost", title_justify="left")
    for way in ways:
        stopped, seconds = (
            sum(row["status"] == "stopped" for row in way.trials),
            sum(row["seconds"] for row in way.trials),
        )
        table.add_row(way.name, str(len(way.trials)), str(stopped), f"{way.views:,}", f"{seconds:.0f}")
    return table


def errors(found: Mapping[str, Sequence[Again]]) -> Table:
    """Return a table with a line for each candidate, in the order of choice, and the means of each group."""
    heads = ("sets of", "rank", "trained at, µm", "worst error", "± between seeds", "least", "most", "seeds")
    table = Table(*heads, title="worst error, % of the range, with other seeds", title_justify="left")
    for name, group in found.items():
        for rank, one in enumerate(group, 1):
            numbers = (one.mean, one.spread, min(one.worst), max(one.worst))
            cells = (f"{100 * number:.2f}" for number in numbers)
            table.add_row(name, str(rank), str(one.candidate.train_set), *cells, str(len(one.worst)))
        mean, spread = statistics.mean(one.mean for one in group), spread_of_seeds(group)
        table.add_row(name, "all", "", f"{100 * mean:.2f}", f"{100 * spread:.2f}", end_section=True)
    return table


def verdicts(guided: Way, every: Way, found: Mapping[str, Sequence[Again]]) -> Iterator[str]:
    """Yield whether the guided search's sets are as good as the exhaustive one's, and at what part of its cost.

    Compared are the sets that each of them ranks first, and those with the least mean of the other seeds. The spread
    between seeds is that of the exhaustive search's best sets: bad sets, which have a large one, would excuse anything.
    """
    spread = spread_of_seeds(found[EVERY_SET])
    for name in (GUIDED, GUIDED_SETTINGS):
        for what, pick in (("first choice", 0), ("best of all retrained", None)):
            mine, least = (_picked(found[group], pick) for group in (name, EVERY_SET))
            error = spread * math.sqrt(1 / len(mine.worst) + 1 / len(least.worst))
            yield (
                f"{what}, {name}: {mine.candidate.train_set} µm errs by {mine.mean:.2%}; {EVERY_SET}: "
                f"{least.candidate.train_set} µm by {least.mean:.2%}. The guided search's set is "
                f"{'as good, within' if mine.mean - least.mean <= 2 * error else 'worse, beyond'} two standard errors "
                f"of the difference ({error:.2%} each)."
            )
    part = guided.views / every.views
    less = "a quarter or less" if part <= QUARTER else "more than a quarter"
    yield f"The guided search took {part:.0%} of the exhaustive search's views: {less}."


def _picked(group: Sequence[Again], rank: int | None) -> Again:
    """Return the candidate of a rank, or that of the least mean."""
    return min(group, key=lambda one: one.mean) if rank is None else group[rank]


def run_gpus(project: Config, config: SearchConfig, options: argparse.Namespace) -> None:
    """Time the searches that the table lacks, and print it."""
    connect()
    for share in options.shares:
        bare = [*options.overrides, *ALONE, f"views=[{config.views[0]}]", f"gpu_share={share}"]
        guided = load_search(options.config, [*bare, f"trials={options.trials}"])
        every = load_search(options.config, [*bare, f"most_scales={options.most_scales}"])
        sets = sum(math.comb(len(every.scales), n) for n in range(1, every.most_scales + 1))
        add_time(project, guided, "search", guided.trials, options.table)
        add_time(project, every, "exhaustive", sets, options.table)
    Console(width=140).print(time_table(read_table(options.table, TIMES).to_pylist()))


def add_time(project: Config, config: SearchConfig, how: Strategy, asked: int, path: Path) -> None:
    """Time a search, and add a row to the table, unless it has one."""
    key = {"search": project.name, "how": how, "gpus": int(gpus()), "gpu_share": config.gpu_share, "asked": asked}
    table = read_table(path, TIMES) if path.exists() else TIMES.empty_table()
    if key in table.select(list(key)).to_pylist():
        return
    row = key | {"at_once": concurrent_trials(config.gpu_share)} | measured(project, config, how)
    print(*row.values(), flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(pa.concat_tables([table, pa.Table.from_pylist([row], schema=TIMES)]), path)


def measured(project: Config, config: SearchConfig, how: Strategy) -> dict[str, Any]:
    """Run a search in a folder of its own, which does not stay, and return the last columns of TIMES."""
    folder, clock = config.folder(project) / "timed", Clock()
    shutil.rmtree(folder, ignore_errors=True)
    search(project, config.model_copy(update={"output": folder}), how == "exhaustive", clock.tell)
    rows = read_trials(folder / "search.parquet").to_pylist()
    shutil.rmtree(folder)
    start, first, last = clock.times[0], clock.times[1], clock.times[-1]
    return {
        "stopped": sum(row["status"] == "stopped" for row in rows),
        "views": sum(row["views"] for row in rows),
        "trial_seconds": sum(row["seconds"] for row in rows),
        "start_up": first - start - rows[0]["seconds"],
        "seconds": last - start,
    }


@dataclass
class Clock:
    """The times of a search's lines: the first when its trials start, one when each has ended."""

    times: list[float] = field(default_factory=list)

    def tell(self, line: str) -> None:
        """Note the time, and print the line."""
        self.times.append(time.monotonic())
        print(f"{self.times[-1] - self.times[0]:7.1f} s  {line}", flush=True)


def time_table(rows: Sequence[Row]) -> Table:
    """Return a table of timed searches, with the speed-up over the same search on one GPU; NaN where there is none.

    busy: the part of the time for which a place for a trial has one.
    """
    table = Table("search", "how", "GPUs", "share", "at once", "trials", "stopped", "start-up, s", "seconds", "busy")
    for head in ("views/s", "× time", "× time without start-up", "× views/s"):
        table.add_column(head)
    key = ("search", "how", "gpu_share", "asked")
    alone = {tuple(row[name] for name in key): row for row in rows if row["gpus"] == 1}
    for row in rows:
        one = alone.get(tuple(row[name] for name in key), row | dict.fromkeys(("seconds", "start_up"), math.nan))
        gains = (
            one["seconds"] / row["seconds"],
            (one["seconds"] - one["start_up"]) / (row["seconds"] - row["start_up"]),
            row["views"] / row["seconds"] * one["seconds"] / one["views"],
        )
        whole = (row[name] for name in ("search", "how", "gpus", "gpu_share", "at_once", "asked", "stopped"))
        busy, speed = row["trial_seconds"] / row["at_once"] / row["seconds"], row["views"] / row["seconds"]
        numbers = (f"{row['start_up']:.1f}", f"{row['seconds']:.1f}", f"{busy:.0%}", f"{speed:,.0f}")
        table.add_row(*map(str, whole), *numbers, *(f"{gain:.2f}" for gain in gains))
    return table


if __name__ == "__main__":
    main()
