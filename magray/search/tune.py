"""Run the trials of a search by Ray Tune, and record each in the search's table as it ends."""

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from magray.errors import UserError
from magray.network.branches import own_device
from magray.runtime.resources import gpus
from magray.search.dataset import EPOCHS, Evaluation, SearchDataset, learn
from magray.search.trials import Candidate, Row, Strategy, Trials

FAILED_ERROR = 1e3  # of a parameter's range: reported of failed trials, because Optuna and ASHA need a number
NOT_EVALUATED = Evaluation(0, 0, 0.0, (), ())
RETRIES = 3  # of a trial whose process dies; it continues from its last rung
SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is a KeyboardInterrupt
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
Tell = Callable[[str], None]
CandidateOf = Callable[[dict[str, Any]], Candidate]  # from the config that Tune gives a trial


@dataclass(frozen=True)
class TrialRunner:
    """Tune with the settings of a search.

    tell: called with a line when a trial ends or begins again. track: called with the row of a trial that ended.
    """

    dataset: Any  # reference to the SearchDataset in Ray's object store
    test_scales: tuple[float, ...]
    strategy: Strategy
    trials: Trials
    saved: Path  # folder for the states of unfinished trials
    gpu_share: float
    tell: Tell
    track: Callable[[Row], None]

    def run(
        self, step: str, config: tune.TuneConfig, candidate_of: CandidateOf, space: dict[str, Any] | None = None
    ) -> None:
        """Run the trials that `config` proposes, or one for each point of `space`; add their rows to the table."""
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        trainable = tune.with_parameters(
            run_trial, dataset=self.dataset, candidate_of=candidate_of, strategy=self.strategy, saved=self.saved
        )
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1, "gpu": self.gpu_share if gpus() else 0}),
            param_space=space,
            # actors that are used again keep torch loaded, and their films on the GPU
            tune_config=replace(config, max_concurrent_trials=concurrent_trials(self.gpu_share), reuse_actors=True),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(self.saved),
                verbose=0,
                callbacks=[TrialLogger(self, step, candidate_of)],
                failure_config=tune.FailureConfig(max_failures=RETRIES),
            ),
        )
        tuner.fit()

    def unfinished(self) -> list[Candidate]:
        """Return the candidates of trials that an earlier run left unfinished."""
        states = {
            path: torch.load(path, map_location="cpu", weights_only=True) for path in sorted(self.saved.glob("*.pt"))
        }
        candidates = {path: Candidate.of(state["candidate"]) for path, state in states.items()}
        return [one for path, one in candidates.items() if path == _saved_file(self.saved, one, self.strategy)]


def run_trial(
    config: dict[str, Any], dataset: SearchDataset, candidate_of: CandidateOf, strategy: Strategy, saved: Path
) -> None:
    """Run one trial, in a process with a core or a share of a GPU. Tune ends it early if ASHA decides so."""
    torch.set_num_threads(1)
    device = own_device()
    candidate = candidate_of(config)
    try:
        for evaluation in learn(dataset, candidate, device, _saved_file(saved, candidate, strategy)):
            tune.report(asdict(evaluation) | {"worst": evaluation.curve[-1]})
    except UserError as error:  # a retry would fail in the same way, so the trial ends here
        tune.report(asdict(NOT_EVALUATED) | {"part": EPOCHS, "worst": FAILED_ERROR, "reason": str(error)})


class TrialLogger(tune.Callback):
    """A callback that adds a row to the search's table when a trial ends, and removes the trial's saved state."""

    def __init__(self, runner: TrialRunner, step: str, candidate_of: CandidateOf) -> None:
        self.runner, self.step, self.candidate_of = runner, step, candidate_of

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing to save: Tune pickles its callbacks into its snapshots, which a search never restores."""
        return {}

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """Record a trial that used all of its views, was stopped, or failed for good."""
        result = trial.last_result
        if "reason" in result:
            self._add_failed(trial, result["reason"])
        else:
            self._add(trial, "finished" if result["part"] == EPOCHS else "stopped", result)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """Tell that a trial begins again, because its process died or an error may have been transient."""
        train_set = self.candidate_of(trial.config).train_set
        self.runner.tell(f"{train_set} µm continues from its last rung: {_last_line(trial.error_file)}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """Record a trial that failed after all retries."""
        self._add_failed(trial, _last_line(trial.error_file))

    def _add_failed(self, trial: Any, reason: str) -> None:
        self._add(trial, "failed", asdict(NOT_EVALUATED) | {"worst": math.nan}, reason)

    def _add(self, trial: Any, status: str, result: dict[str, Any], reason: str = "") -> None:
        """Add the trial's row to the table, remove its saved state, and tell its end."""
        runner, candidate = self.runner, self.candidate_of(trial.config)
        errors, scales = list(result["errors"]), list(runner.test_scales)
        worst_scale = scales[errors.index(max(errors))] if errors else math.nan
        outcome: Row = {
            "trial": candidate.key(runner.strategy),
            "how": runner.strategy,
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
        runner.trials.add(candidate.row() | outcome)
        runner.track(candidate.row() | outcome)
        _saved_file(runner.saved, candidate, runner.strategy).unlink(missing_ok=True)
        text = reason or f"{result['worst']:.1%} at {worst_scale:g} µm"
        runner.tell(f"{candidate.train_set} µm {status}: {text}")


def _saved_file(folder: Path, candidate: Candidate, strategy: Strategy) -> Path:
    """Return the file of an unfinished trial's state."""
    return folder / f"{candidate.key(strategy)}.pt"


def concurrent_trials(gpu_share: float) -> int:
    """Return the number of trials that fit on the cluster at once."""
    if gpus():
        return int(gpus()) * int(1 / gpu_share)
    return max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]


def _last_line(error_file: str | None) -> str:
    """Return the last line of a trial's error file."""
    lines = Path(error_file).read_text(encoding="utf-8").strip().splitlines() if error_file else []
    return lines[-1] if lines else "its process died"
