"""Campaigns under faults: rounds at random moments, and what each of them cost.

    python -m benchmarks.survival --rounds 5 --seed 1
    python -m benchmarks.survival --only "node killed" --rounds 20

On this machine: a Ray cluster of three nodes, an S3 server (SeaweedFS), and campaigns of 24 films that take a third
of a second each. Of every fault so many rounds, each at another moment; odd seeds put the store into a bucket
where the fault leaves a choice. Films lost, films twice and pictures that differ from those of an undisturbed
campaign must be 0, as must films that were simulated again though they were committed, and committed files that were
touched.
A fault may cost the films that were being simulated: blocks of 2 films, one with each of three actors and some on their
way to the store. Ends with exit code 1 if anything was lost. What the drivers said stands below the table.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.cluster import ChaosCluster, chaos_cluster
from tests.chaos.faults import FAULTS, play
from tests.chaos.rounds import RoundResult

COLUMNS = ("fault", "seed", "s", "lost", "twice", "differ", "simulated again", "needlessly", "touched", "noise")


def rounds(chaos: ChaosCluster, names: list[str], seeds: range) -> Iterator[RoundResult | str]:
    """Replay them one after another; a round that failed is what there is to say about it."""
    for seed in seeds:
        for name in names:
            try:
                yield play(chaos, name, seed)
            except AssertionError as error:
                yield str(error)


def row_of(outcome: RoundResult) -> list[str]:
    """A line of the table."""
    numbers = [outcome.lost, outcome.twice, outcome.differ, outcome.again, outcome.needless, outcome.touched]
    return [outcome.fault, str(outcome.seed), f"{outcome.seconds:.0f}", *map(str, (*numbers, outcome.noise))]


def main() -> None:
    """Print a line a round as it ends, and the table at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1, help="of each fault")
    parser.add_argument("--seed", type=int, default=0, help="of the first round; the next has the next")
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="FAULT")
    options = parser.parse_args()
    table, failed, words = Table(*COLUMNS), 0, []
    console = Console(width=140)
    with tempfile.TemporaryDirectory(prefix="magray-survival-") as folder, chaos_cluster(Path(folder)) as chaos:
        for outcome in rounds(chaos, options.only, range(options.seed, options.seed + options.rounds)):
            if isinstance(outcome, str):
                failed += 1
                console.print(outcome, markup=False)
                continue
            failed += bool(outcome.wrong)
            table.add_row(*row_of(outcome))
            console.print(" | ".join(row_of(outcome)), markup=False)
            words += [f"{outcome.fault} {outcome.seed}: {line}" for line in (*outcome.wrong, *outcome.said)]
    console.print(table)
    console.print("\n".join(words), markup=False, highlight=False)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
