"""Search over sets of training scales for the cheapest that is good enough, by Ray Tune.

A trial is a short fit with one set of scales. Optuna proposes sets, widths of networks, learning rates and schedules;
ASHA stops trials that are behind others after the same part of their views. Ranges of scales are tried beside the sets.
The search begins with the smallest number of views that the config allows, and goes on to more only if nothing stays
within the tolerance. A candidate within the tolerance is trained again with other seeds, and with fewer films.

    search.parquet          a row for each trial, written as it ends
    .work/search-…/*.pt     the states of unfinished trials

An interrupted search continues when it is run again: trials in the table are reported to Optuna and ASHA instead of
being run again, and unfinished ones are proposed first and continue from their last rung. Tune's own snapshots are not
used for that. They are seconds old when a driver is killed, so that trials would be lost or run twice, and do not
contain ASHA's state.
"""

import itertools
import random
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import ray
from ray import tune

from magray.config import Config, ScaleSet, SearchConfig
from magray.errors import UserError
from magray.runtime.connect import connect
from magray.search.asha import scheduler
from magray.search.dataset import EPOCHS, prepare
from magray.search.space import Space
from magray.search.track import track_trial
from magray.search.trials import (
    Candidate,
    CandidateGroup,
    Row,
    SearchResult,
    Strategy,
    Trials,
    cheapest,
    least_wrong,
    options,
)
from magray.search.tune import Tell, TrialRunner
from magray.store import open_store
from magray.store.lease import lease
from magray.store.location import locate
from magray.tracking import NO_TRACKING, Tracking

CARRIED = 3  # sets of the best trials so far that are proposed first with more views
FEWER_FILMS = (2, 4, 8)  # divisors of the number of films with which an answer is trained again


def search(
    project: Config, config: SearchConfig, exhaustive: bool = False, tell: Tell = print, track: Sequence[str] = ()
) -> SearchResult:
    """Search for the cheapest training set whose worst error over the test scales stays within the tolerance.

    exhaustive: evaluates every set, once, with the fewest views and the project's own learning rate, as a baseline.
    track: names of the trackers that get a run of each trial, when it ends; their files lie in the search's folder.
    Raises UserError if the films cannot be searched over, Optuna or a tracker is missing, or every trial failed.
    """
    tracking = Tracking(track, config.folder(project))
    if not exhaustive:
        _check_optuna()
    connect()
    run = SearchRun.of(project, config, "exhaustive" if exhaustive else "search", tell, tracking)
    with lease(locate(str(run.runner.saved)), tell):
        run.trials.read()
        run.search()
    result = SearchResult.of(run.trials.rows.values(), run.strategy, config.tolerance)
    shutil.rmtree(run.runner.saved, ignore_errors=True)
    return result


@dataclass(frozen=True)
class SearchRun:
    """A search over the films of a project. films: to train on. learning_rate: the project's own."""

    config: SearchConfig
    strategy: Strategy
    films: int
    learning_rate: float
    trials: Trials
    runner: TrialRunner
    tell: Tell

    @classmethod
    def of(
        cls, project: Config, config: SearchConfig, strategy: Strategy, tell: Tell, tracking: Tracking = NO_TRACKING
    ) -> "SearchRun":
        """Load the dataset of a search from a project's store. Raises UserError as `search`."""
        if config.views[0] < EPOCHS * config.most_scales:
            raise UserError(f"views: {config.views[0]} are too few for {EPOCHS} epochs of {config.most_scales} scales")
        dataset = prepare(open_store(project.store_uri), project.fit, config)
        folder = config.folder(project).absolute()
        trials = Trials(folder / "search.parquet", dataset.made_from)
        saved = folder / ".work" / f"search-{dataset.made_from}"
        reference = ray.put(dataset)
        track = partial(track_trial, tracking, f"{project.name} search")
        runner = TrialRunner(reference, dataset.test_scales, strategy, trials, saved, config.gpu_share, tell, track)
        return cls(config, strategy, len(dataset.images), project.fit.learning_rate, trials, runner, tell)

    def search(self) -> None:
        """Run all trials; those with fewer films follow once a candidate within the tolerance is known."""
        if self.strategy == "search":
            answer = self._explore()
        else:
            self.run_all("explore", [*self._every_set(), *self._every_range(self.config.views[0])])
            answer = self._confirm_cheapest()
        if answer is not None:
            self.run_all("films", self._with_fewer_films(answer.candidate))
            self._confirm_cheapest()
            return
        found = self._options()
        sets = [option for option in found if not option.candidate.train_set.is_range]
        for best in (least_wrong(found), least_wrong(sets)):
            if best is not None:
                self.run_all("again", self._with_every_seed(best.candidate))  # to separate merit from luck

    def _options(self) -> list[CandidateGroup]:
        """Return the candidates evaluated so far, the cheapest first."""
        return options(self.trials.of(self.strategy))

    def _explore(self) -> CandidateGroup | None:
        """Search with increasing numbers of views until a candidate stays within the tolerance; return it."""
        for budget in self.config.views:
            space = Space(self.config, budget, self.films)
            ended = [row for row in self.trials.of(self.strategy, "explore") if space.holds(Candidate.of(row))]
            missing = self.config.trials - len(ended)
            if missing > 0:
                self.tell(f"explore, {budget:,} views: {missing} to do")
                self.runner.run("explore", self._by_optuna(space, ended), space.candidate)
            self.run_all("range", self._every_range(budget))
            if answer := self._confirm_cheapest():
                return answer
        return None

    def _confirm_cheapest(self) -> CandidateGroup | None:
        """Return the cheapest candidate within the tolerance, once it has been trained with all seeds."""
        while (option := cheapest(self._options(), self.config.tolerance)) is not None:
            if not (missing := self._missing(self._with_every_seed(option.candidate))):
                return option
            self.run_all("again", missing)
        return None

    def _with_every_seed(self, candidate: Candidate) -> list[Candidate]:
        """Return the candidate with each of the config's seeds."""
        return [replace(candidate, seed=self.config.seed + i) for i in range(self.config.seeds)]

    def _with_fewer_films(self, candidate: Candidate) -> list[Candidate]:
        """Return the candidate with a half, a quarter and an eighth of the films."""
        counts = [self.films // divisor for divisor in FEWER_FILMS]
        return [replace(candidate, films=n, seed=self.config.seed) for n in counts if n > 1]

    def _every_set(self) -> list[Candidate]:
        """Return a candidate for each set of at most `most_scales` scales."""
        scales, most = sorted(self.config.scales), self.config.most_scales
        sets = (chosen for n in range(1, most + 1) for chosen in itertools.combinations(scales, n))
        return [self._default(ScaleSet.of(chosen), self.config.views[0]) for chosen in sets]

    def _every_range(self, budget: int) -> list[Candidate]:
        """Return a candidate for each of the config's ranges."""
        return [self._default(train_set, budget) for train_set in self.config.ranges]

    def _default(self, train_set: ScaleSet, budget: int) -> Candidate:
        """Return a candidate with the project's own learning rate, the first schedule and all films."""
        return Candidate(train_set, self.learning_rate, self.config.schedules[0], budget, self.films, self.config.seed)

    def run_all(self, step: str, candidates: Sequence[Candidate]) -> None:
        """Run those of the candidates that have not ended yet, without early stops."""
        if missing := self._missing(candidates):
            self.tell(f"{step}: {len(missing)} to do")
            space = {"candidate": tune.grid_search([candidate.row() for candidate in missing])}
            self.runner.run(step, tune.TuneConfig(), _grid_candidate, space)

    def _missing(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Return the candidates whose trials have not ended yet."""
        return [one for one in candidates if one.key(self.strategy) not in self.trials.rows]

    def _by_optuna(self, space: Space, ended: list[Row]) -> tune.TuneConfig:
        """Return Tune's config with Optuna and ASHA, which know the trials that have ended.

        Unfinished trials, and sets that did well with fewer views, are proposed first.
        """
        before = sorted((o for o in self._options() if o.candidate.budget < space.budget), key=lambda one: one.worst)
        carried = [replace(one.candidate, budget=space.budget, seed=self.config.seed) for one in before]
        carried = [one for one in carried if space.holds(one)][:CARRIED]
        unfinished = self.runner.unfinished()
        first = [one for one in self._missing(dict.fromkeys([*unfinished, *carried])) if space.holds(one)]
        # with the seed of the interrupted run Optuna would repeat its proposals
        seed = random.Random(f"{self.config.seed} {space.budget} {len(ended) + len(first)}").getrandbits(32)
        succeeded = [row for row in ended if row["status"] != "failed"]
        return tune.TuneConfig(
            search_alg=space.searcher(first, succeeded, seed),
            scheduler=scheduler(succeeded),
            num_samples=self.config.trials - len(ended),
        )


def _grid_candidate(config: dict[str, Any]) -> Candidate:
    """Return the candidate of a point of a grid search."""
    return Candidate.of(config["candidate"])


def _check_optuna() -> None:
    """Raise UserError unless Optuna is installed."""
    if find_spec("optuna") is None:
        raise UserError("Optuna is not installed: pip install 'magray[search]', or try every set with --exhaustive")
