"""Which training scales are enough? A search over sets of them, by Ray Tune.

A trial is a short fit with one set of scales. Optuna proposes sets, widths of networks, learning rates and schedules;
ASHA stops trials that are behind others after the same part of their views. Ranges of scales are tried beside the sets.
The search begins with the fewest views that the config allows and goes on to more only when nothing stays within the
tolerance. What does is trained again with other seeds, and with fewer films.

    search.parquet          a row for each trial, written as it ends
    .work/search-…/*.pt     trials under way: where they go on

A search that was cut short goes on: what has ended is taken from the table, told to Optuna and ASHA, and not done
again; what was under way is proposed first and continues from its last look. Tune's own snapshots are not used for
that. They are seconds old when a driver is killed, so that trials would be lost or done twice, and hold nothing of what
ASHA knows.
"""

import itertools
import math
import os
import random
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from magray.config import Config, ScaleSet, SearchConfig
from magray.errors import UserError
from magray.network.branches import own_device
from magray.runtime.connect import connect
from magray.runtime.resources import gpus
from magray.search.dataset import EPOCHS, RUNGS, Evaluation, SearchDataset, learn, prepare
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
from magray.store import open_store
from magray.store.lease import lease
from magray.store.location import locate

REDUCTION = 3  # ASHA: about the best third goes on after each look
CARRIED = 3  # sets of the best trials so far that are tried first with more views
FEWER_FILMS = (2, 4, 8)  # an answer is tried with so many times fewer films
HOPELESS = 1e3  # of a parameter's range: the error that Optuna and ASHA, which need one, are told of a failed trial
NOTHING = Evaluation(0, 0, 0.0, (), ())  # is known of it
RETRIES = 3  # of a trial whose process dies: it goes on from its last look
QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is a KeyboardInterrupt
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
Tell = Callable[[str], None]


def search(project: Config, config: SearchConfig, exhaustive: bool = False, tell: Tell = print) -> SearchResult:
    """Looks for the cheapest training set whose worst error over the test scales stays within the tolerance.

    exhaustive: tries every set, once, with the fewest views and the project's own learning rate, for comparison.
    Raises UserError if the films cannot be searched over, Optuna is missing, or every trial failed.
    """
    if not exhaustive:
        _check_optuna()
    connect()
    bench = SearchRun.of(project, config, "exhaustive" if exhaustive else "search", tell)
    with lease(locate(str(bench.saved)), tell):
        bench.trials.read()
        bench.search()
    found = SearchResult.of(bench.trials.rows.values(), bench.strategy, config.tolerance)
    shutil.rmtree(bench.saved, ignore_errors=True)
    return found


@dataclass(frozen=True)
class SearchRun:
    """A search's films, its table, and Tune to run its trials."""

    config: SearchConfig
    strategy: Strategy
    dataset: SearchDataset
    reference: Any  # to the course in Ray's object store, which gives it to the trials
    trials: Trials
    saved: Path  # folder of the trials under way
    learning_rate: float  # the project's own
    tell: Tell

    @classmethod
    def of(cls, project: Config, config: SearchConfig, strategy: Strategy, tell: Tell) -> "SearchRun":
        """Load a search's dataset from a project's store. Raises UserError as `search`."""
        if config.views[0] < EPOCHS * config.most_scales:
            raise UserError(f"views: {config.views[0]} are too few for {EPOCHS} epochs of {config.most_scales} scales")
        reference = ray.put(prepare(open_store(project.store_uri), project.fit, config))
        dataset = ray.get(reference)  # the pictures lie in memory once, for this process and the trials
        folder = config.folder(project).absolute()
        return cls(
            config=config,
            strategy=strategy,
            dataset=dataset,
            reference=reference,
            trials=Trials(folder / "search.parquet", dataset.made_from),
            saved=folder / ".work" / f"search-{dataset.made_from}",
            learning_rate=project.fit.learning_rate,
            tell=tell,
        )

    def search(self) -> None:
        """Run the whole search: until the cheapest option within the tolerance has as few films as will do."""
        if self.strategy == "search":
            answer = self.explore()
        else:
            self.run("explore", [*self.every_set(), *self.every_range(self.config.views[0])])
            answer = self.settle()
        if answer is not None:
            self.run("films", self.with_fewer_films(answer.candidate))
            self.settle()
            return
        found = self.options()
        sets = [option for option in found if not option.candidate.train_set.is_range]
        for best in (least_wrong(found), least_wrong(sets)):
            if best is not None:
                self.run("again", self.with_every_seed(best.candidate))  # how much of it was luck

    def options(self) -> list[CandidateGroup]:
        """The candidates evaluated so far, the cheapest first."""
        return options(self.trials.of(self.strategy))

    def explore(self) -> CandidateGroup | None:
        """Search with ever more views until some set stays within the tolerance."""
        for budget in self.config.views:
            space = Space(self.config, budget, len(self.dataset.images))
            ended = [row for row in self.trials.of(self.strategy, "explore") if space.holds(Candidate.of(row))]
            left = self.config.trials - len(ended)
            if left > 0:
                self.tell(f"explore, {budget:,} views: {left} to do")
                self._run_tune("explore", self._by_optuna(space, ended), space.candidate)
            self.run("range", self.every_range(budget))
            if answer := self.settle():
                return answer
        return None

    def settle(self) -> CandidateGroup | None:
        """The cheapest option within the tolerance, after training it, and whatever seemed so, with all seeds."""
        while (option := cheapest(self.options(), self.config.tolerance)) is not None:
            if not (missing := self._missing(self.with_every_seed(option.candidate))):
                return option
            self.run("again", missing)
        return None

    def with_every_seed(self, candidate: Candidate) -> list[Candidate]:
        """The same with each of the config's seeds."""
        return [replace(candidate, seed=self.config.seed + i) for i in range(self.config.seeds)]

    def every_set(self) -> list[Candidate]:
        """A candidate for each set of at most `most_scales` scales."""
        scales, most = sorted(self.config.scales), self.config.most_scales
        sets = (chosen for n in range(1, most + 1) for chosen in itertools.combinations(scales, n))
        return [self._plain(ScaleSet.of(chosen), self.config.views[0]) for chosen in sets]

    def every_range(self, budget: int) -> list[Candidate]:
        """A candidate for each of the config's ranges."""
        return [self._plain(train_set, budget) for train_set in self.config.ranges]

    def _plain(self, train_set: ScaleSet, budget: int) -> Candidate:
        """With the project's own learning rate, the first schedule and all films."""
        rate, schedule, films = self.learning_rate, self.config.schedules[0], len(self.dataset.images)
        return Candidate(train_set, rate, schedule, budget, films, self.config.seed)

    def with_fewer_films(self, candidate: Candidate) -> list[Candidate]:
        """The same with parts of all films."""
        counts = [len(self.dataset.images) // fewer for fewer in FEWER_FILMS]
        return [replace(candidate, films=n, seed=self.config.seed) for n in counts if n > 1]

    def run(self, step: str, candidates: Sequence[Candidate]) -> None:
        """Run those of the candidates that have not ended yet, to their ends."""
        if missing := self._missing(candidates):
            self.tell(f"{step}: {len(missing)} to do")
            space = {"candidate": tune.grid_search([one.row() for one in missing])}
            self._run_tune(step, tune.TuneConfig(), _of_grid, space)

    def _missing(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        return [one for one in candidates if one.key(self.strategy) not in self.trials.rows]

    def _by_optuna(self, space: "Space", ended: list[Row]) -> tune.TuneConfig:
        """Optuna and ASHA, which know what has ended; what was under way, and sets that did well before, come first."""
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        under_way = _under_way(self.saved, self.strategy)
        before = sorted((o for o in self.options() if o.candidate.budget < space.budget), key=lambda one: one.worst)
        carried = [replace(one.candidate, budget=space.budget, seed=self.config.seed) for one in before]
        carried = [one for one in carried if space.holds(one)][:CARRIED]
        first = [one for one in self._missing(dict.fromkeys([*under_way, *carried])) if space.holds(one)]
        # the same seed again would propose again what it has proposed before
        seed = random.Random(f"{self.config.seed} {space.budget} {len(ended) + len(first)}").getrandbits(32)
        sampler = optuna.samplers.TPESampler(seed=seed)
        points = [space.point(one) for one in first] or None
        searcher = OptunaSearch(space.distributions(), "worst", "min", points, sampler)
        asha = ASHAScheduler("part", "worst", "min", max_t=EPOCHS, grace_period=RUNGS[0], reduction_factor=REDUCTION)
        for row in ended:
            if row["status"] != "failed":
                searcher.add_evaluated_point(space.point(Candidate.of(row)), row["worst"])
                _remember(asha, row)
        return tune.TuneConfig(search_alg=searcher, scheduler=asha, num_samples=self.config.trials - len(ended))

    def _run_tune(
        self, step: str, given: tune.TuneConfig, candidate_of: "CandidateOf", space: dict[str, Any] | None = None
    ) -> None:
        """Run the trials of `given`, or one for each point of a `space`. Their rows are in the table then."""
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        trainable = tune.with_parameters(
            run_trial, dataset=self.reference, candidate_of=candidate_of, strategy=self.strategy, saved=self.saved
        )
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1, "gpu": self.config.gpu_share if gpus() else 0}),
            param_space=space,
            # processes that are used again keep their films on the GPU, and torch loaded
            tune_config=replace(given, max_concurrent_trials=_at_once(self.config.gpu_share), reuse_actors=True),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(self.saved),
                verbose=0,
                callbacks=[TrialLogger(self, step, candidate_of)],
                failure_config=tune.FailureConfig(max_failures=RETRIES),
            ),
        )
        tuner.fit()


CandidateOf = Callable[[dict[str, Any]], Candidate]  # of what Tune gives a trial


def run_trial(
    config: dict[str, Any], dataset: SearchDataset, candidate_of: CandidateOf, strategy: Strategy, saved: Path
) -> None:
    """A trial, in a process with its share of a GPU or with a core. Tune ends it early where ASHA says so."""
    torch.set_num_threads(1)
    device = own_device()
    candidate = candidate_of(config)
    try:
        for evaluation in learn(dataset, candidate, device, _saved_file(saved, candidate, strategy)):
            tune.report(asdict(evaluation) | {"worst": evaluation.curve[-1]})
    except UserError as error:  # it would only fail in the same way again, so this is its end
        tune.report(asdict(NOTHING) | {"part": EPOCHS, "worst": HOPELESS, "reason": str(error)})


class TrialLogger(tune.Callback):
    """Writes the row of a trial that has ended into the search's table, and removes what it had saved on its way."""

    def __init__(self, bench: SearchRun, step: str, candidate_of: CandidateOf) -> None:
        self.bench, self.step, self.candidate_of = bench, step, candidate_of

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune writes its callbacks to the disk, to go on with, and here it never does."""
        return {}

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """It has learned from all of its views, was stopped, or cannot be done, as one that diverged."""
        result = trial.last_result
        if "reason" in result:
            self._write_failed(trial, result["reason"])
        else:
            self._write(trial, "finished" if result["part"] == EPOCHS else "stopped", result)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """Its process died, or something failed that may not fail again."""
        train_set = self.candidate_of(trial.config).train_set
        self.bench.tell(f"{train_set} µm begins again at its last look: {_last_line(trial.error_file)}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """It failed, and so did its retries."""
        self._write_failed(trial, _last_line(trial.error_file))

    def _write_failed(self, trial: Any, reason: str) -> None:
        self._write(trial, "failed", asdict(NOTHING) | {"worst": math.nan}, reason)

    def _write(self, trial: Any, status: str, result: dict[str, Any], reason: str = "") -> None:
        bench, candidate = self.bench, self.candidate_of(trial.config)
        errors, scales = list(result["errors"]), list(bench.dataset.test_scales)
        worst_scale = scales[errors.index(max(errors))] if errors else math.nan
        about: Row = {
            "trial": candidate.key(bench.strategy),
            "how": bench.strategy,
            "step": self.step,
            "status": status,
            "views": result["views"],
            "seconds": result["seconds"],
            "worst": result["worst"],
            "worst_scale": worst_scale,
            "curve": list(result["curve"]),
            "test_scales": scales,
            "errors": errors,
        }
        bench.trials.add(candidate.row() | about)
        _saved_file(bench.saved, candidate, bench.strategy).unlink(missing_ok=True)
        ended = reason or f"{result['worst']:.1%} at {worst_scale:g} µm"
        bench.tell(f"{candidate.train_set} µm {status}: {ended}")


@dataclass(frozen=True)
class Space:
    """The space of candidates that Optuna proposes from.

    A set is some places, each with a scale's number in the ascending list; the same scale twice counts once. So Optuna
    learns that a scale is a good one, whatever it is combined with, and that its neighbours are much like it. Names of
    hundreds of sets would tell it nothing.
    """

    config: SearchConfig
    budget: int
    films: int

    @property
    def scales(self) -> list[float]:
        """All scales, µm, ascending."""
        return sorted(self.config.scales)

    @property
    def places(self) -> list[str]:
        """Names of the places."""
        return [f"place {i}" for i in range(min(self.config.most_scales, len(self.scales)))]

    def distributions(self) -> dict[str, Any]:
        """For Optuna."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        low, high = self.config.learning_rates
        return {place: IntDistribution(0, len(self.scales) - 1) for place in self.places} | {
            "learning_rate": FloatDistribution(low, high, log=True),
            "schedule": CategoricalDistribution(self.config.schedules),
            "width": CategoricalDistribution(self.config.widths),
        }

    def candidate(self, point: dict[str, Any]) -> Candidate:
        """Return the candidate of a point in Optuna's space."""
        chosen = {self.scales[point[place]] for place in self.places}
        return Candidate(
            ScaleSet.of(chosen),
            point["learning_rate"],
            point["schedule"],
            self.budget,
            self.films,
            self.config.seed,
            point["width"],
        )

    def point(self, candidate: Candidate) -> dict[str, Any]:
        """A point that means `candidate`: places that are left have the last scale again."""
        numbers = [self.scales.index(scale) for scale in candidate.scales]
        filled = [numbers[min(i, len(numbers) - 1)] for i in range(len(self.places))]
        return dict(zip(self.places, filled, strict=True)) | {
            "learning_rate": candidate.learning_rate,
            "schedule": candidate.schedule,
            "width": candidate.width,
        }

    def holds(self, candidate: Candidate) -> bool:
        """Return whether `candidate` lies in the space."""
        low, high = self.config.learning_rates
        return (
            not candidate.train_set.is_range
            and set(candidate.scales) <= set(self.config.scales)
            and len(candidate.scales) <= len(self.places)
            and low <= candidate.learning_rate <= high
            and candidate.schedule in self.config.schedules
            and candidate.width in self.config.widths
            and (candidate.budget, candidate.films, candidate.seed) == (self.budget, self.films, self.config.seed)
        )


def _of_grid(given: dict[str, Any]) -> Candidate:
    return Candidate.of(given["candidate"])


def _saved_file(folder: Path, candidate: Candidate, strategy: Strategy) -> Path:
    return folder / f"{candidate.key(strategy)}.pt"


def _under_way(folder: Path, strategy: Strategy) -> list[Candidate]:
    """The candidates that a search was cut short in."""
    states = {path: torch.load(path, map_location="cpu", weights_only=True) for path in sorted(folder.glob("*.pt"))}
    candidates = {path: Candidate.of(state["candidate"]) for path, state in states.items()}
    return [one for path, one in candidates.items() if path == _saved_file(folder, one, strategy)]


def _remember(asha: ASHAScheduler, row: Row) -> None:
    """Report the results of an earlier run's trial to ASHA, part by part."""
    trial: Any = SimpleNamespace(trial_id=row["trial"])
    nobody: Any = None
    asha.on_trial_add(nobody, trial)
    for part, worst in zip(RUNGS, row["curve"], strict=False):
        asha.on_trial_result(nobody, trial, {"part": part, "worst": worst})


def _at_once(gpu_share: float) -> int:
    """Return the number of trials that fit on the cluster at once."""
    if gpus():
        return int(gpus()) * int(1 / gpu_share)
    return max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]


def _last_line(error_file: str | None) -> str:
    """Return the last line of a trial's error file."""
    lines = Path(error_file).read_text(encoding="utf-8").strip().splitlines() if error_file else []
    return lines[-1] if lines else "its process died"


def _check_optuna() -> None:
    if find_spec("optuna") is None:
        raise UserError("Optuna is not installed: pip install 'magray[search]', or try every set with --exhaustive")
