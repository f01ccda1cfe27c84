"""The stages that turn a config into a project's folder. Each can be run alone, and is done once.

plan.parquet  store/  simulate.jsonl  estimator/  study.parquet  predictions.parquet  report/  summary.json
"""

import contextlib
import math
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from magray.config import Config, DesignedConfig, FitConfig, ScaleSet
from magray.environment import versions
from magray.errors import FilmsLost, UserError
from magray.files.atomic import read_notes, read_table, write_table
from magray.films import Film, plan_table
from magray.films.design import reduced_columns
from magray.films.plan import PLAN_SCHEMA, read_plan
from magray.imaging import check_room
from magray.project.cache import Facts, StageCache, fingerprint, seconds_of
from magray.project.estimate import estimate_pictures, held_out_film, write_view
from magray.report.summary import Summary
from magray.store import open_store
from magray.tracking import Tracking

if TYPE_CHECKING:
    from rich.console import Console

    from magray.campaign.progress import Watch
    from magray.imaging.microscope import Microscope
    from magray.training.starting_point import StartingPoint

CONFIG_KEY = b"magray.config"  # in the metadata of plan.parquet: the resolved config
PICTURE = "held_out_film.png"


@dataclass(frozen=True)
class StageResult:
    """The outcome of a stage in words. cached: it had been done before; `seconds` is the time that it took then."""

    text: str
    cached: bool
    seconds: float
    warnings: tuple[str, ...] = ()

    def print_to(self, console: "Console") -> None:
        """Print the outcome, its time, and its warnings."""
        from rich.markup import escape

        when = "done before" if self.cached else f"in {self.seconds:.1f} s"
        console.print(f"{escape(self.text)} [dim]({when})[/dim]", highlight=False, soft_wrap=True)
        for warning in self.warnings:
            console.print(f"[yellow]warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)


class SeededFit(NamedTuple):
    """A fit of a project: its training set and its seed."""

    train_set: ScaleSet
    seed: int


@dataclass(frozen=True)
class FilmsProject:
    """The folder of a config whose films are those of a campaign or of a design, and the stages that make them."""

    config: Config | DesignedConfig

    @property
    def folder(self) -> Path:
        """Return the folder of all results; only the store may lie elsewhere."""
        return self.config.output

    @property
    def cache(self) -> StageCache:
        """Return the record of the stages that are done."""
        return StageCache(self.folder, self.config)

    @property
    def summary(self) -> Summary:
        """Return the content of summary.json, or an empty summary. Raises UserError if the file is damaged."""
        return self.cache.summary

    def plan(self) -> StageResult:
        """Write plan.parquet. Raises UserError if the folder holds a plan of other films."""
        self._check_scales()
        path, summary, inputs = self.folder / "plan.parquet", self.summary, self.config.to_yaml()
        # sampling a million films takes a minute
        if summary.plan and self.cache.is_done("plan", inputs, [path]) and _config_of(path) == inputs:
            return StageResult(summary.plan.text, True, summary.seconds.get("plan", 0.0), tuple(summary.plan.warnings))
        start = time.monotonic()
        beyond: Counter[str] = Counter()

        def films() -> Iterator[Film]:  # each once: millions of them at a time would fill the memory
            for film in self.config.films():
                beyond.update(warning.partition(":")[2].strip() for warning in film.warnings)
                yield film

        table = self._table(films()).replace_schema_metadata({CONFIG_KEY: inputs})
        if path.exists() and not _holds_films_of(table, path):
            raise UserError(f"{path} plans other films; choose another output, or remove the folder {self.folder}")
        write_table(table, path)  # replaces the old plan at once, because another process may be about to read it
        seconds = round(time.monotonic() - start, 2)
        warnings = [f"{n} films have a D beyond the critical value: {warning}" for warning, n in beyond.items()]
        tests = pc.sum(pc.equal(table["split"], "test")).as_py() or 0
        text = f"{table.num_rows} films planned, {table.num_rows - tests} for training and {tests} for testing"
        mark = {"plan": fingerprint(inputs)}
        facts: Facts = {"plan": {"text": text, "warnings": warnings}, "seconds": {"plan": seconds}}
        self.cache.write(facts | {"made_from": mark, "done": mark})
        return StageResult(text, False, seconds, tuple(warnings))

    def simulate(self, thumbnails: bool = False) -> StageResult:
        """Simulate the planned films that the store lacks. Events are logged to simulate.jsonl.

        thumbnails: write simulate.html, with the progress and pictures of the last films, while films are simulated.
        """
        from magray.campaign.run import run_campaign

        self.plan()
        config, plan = self.config, read_plan(self.folder / "plan.parquet")
        start, spent = time.monotonic(), self.summary.seconds.get("simulate", 0.0)
        try:
            log = self.folder / "simulate.jsonl"
            watch = self._page() if thumbnails else None
            done = run_campaign(plan, config.store_uri, config.simulate, campaign=config.name, log=log, watch=watch)
        except (KeyboardInterrupt, FilmsLost):
            self.cache.write(seconds_of("simulate", spent + time.monotonic() - start))
            raise
        spent += done.seconds if done.simulated else 0.0
        counts = {"films": done.films, "failed": done.failed, "not_converged": done.not_converged}
        self.cache.write(counts | {"evaluations": done.evaluations} | seconds_of("simulate", spent))
        text = f"{done.films} films in {done.evaluations:,} field evaluations"
        text += f", {done.not_converged} not converged" if done.not_converged else ""
        text += f", {done.failed} failed" if done.failed else ""
        return StageResult(text, done.simulated == 0, spent)

    def _page(self) -> "Watch":
        """Return what writes simulate.html at each commit."""
        from magray.report.simulate import PAGE, CampaignPage

        return CampaignPage(self.folder / PAGE, self.config.store_uri, self.config.name).show

    def _table(self, films: Iterable[Film]) -> pa.Table:
        """Return the rows of the plan; those of a design have its numbers, too."""
        table = plan_table(films, self.config.name)
        if isinstance(self.config, DesignedConfig):
            numbers = reduced_columns(table)
            for name in numbers.column_names:
                table = table.append_column(name, numbers[name])
        return table

    def _check_scales(self) -> None:
        """Raise UserError unless the films have room for the scales that are trained and tested."""


@dataclass(frozen=True)
class Project(FilmsProject):
    """The folder of one config, and the stages that fill it."""

    config: Config

    @property
    def fits(self) -> list[SeededFit]:
        """Return each training set with each seed."""
        fit = self.config.fit
        return [
            SeededFit(train_set, seed)
            for train_set in fit.train_scales
            for seed in range(fit.seed, fit.seed + fit.seeds)
        ]

    @property
    def microscope(self) -> "Microscope | None":
        """Return the microscope through which films are seen; None if networks see the films themselves."""
        from magray.training.config import TrainConfig

        return TrainConfig.of(self.config.fit.model_dump()).microscope

    def estimator_folder(self, train_set: ScaleSet, seed: int | None = None) -> Path:
        """Return the folder of an estimator; `seed` None means the first seed.

        estimator/ itself is that of the first training set, and estimator/<training set> of every other one. Further
        seeds lie below in estimator/<training set>/seed-<seed>.
        """
        top = self.folder / "estimator"
        first = seed in (None, self.config.fit.seed)
        if first and train_set == self.config.fit.train_scales[0]:
            return top
        return top / str(train_set) if first else top / str(train_set) / f"seed-{seed}"

    def simulate(self, thumbnails: bool = False) -> StageResult:
        """Simulate the planned films that the store lacks, once it is certain that fits can start."""
        self._start()
        return super().simulate(thumbnails)

    def fit(self, track: Sequence[str] = ()) -> list[StageResult]:
        """Fit an estimator for each training set and seed, side by side if the cluster has several GPUs.

        track: names of the trackers that get a run of each fit.
        """
        from magray.runtime.connect import connect
        from magray.runtime.resources import gpus

        tracking = Tracking(track, self.folder)
        films, at_once = self._converged_films(), 1
        if not all(self.cache.is_done(*self._fit_stage(trial, films)) for trial in self.fits):
            connect()
            at_once = max(1, int(gpus() / self.config.fit.workers))
        if at_once == 1:
            results = [self._fit(trial, films, tracking, progress=True) for trial in self.fits]
        else:
            results = self._fit_side_by_side(at_once, films, tracking)
        self._remove_checkpoints()
        return results

    def _fit_side_by_side(self, at_once: int, films: list[str], tracking: Tracking) -> list[StageResult]:
        import ray

        with ThreadPoolExecutor(at_once) as pool:
            try:
                return list(pool.map(lambda trial: self._fit(trial, films, tracking, progress=False), self.fits))
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)  # so that no further fit begins
                ray.shutdown()  # ends what the threads wait for
                raise

    def _fit(self, trial: SeededFit, films: list[str], tracking: Tracking, progress: bool) -> StageResult:
        def work() -> Facts:
            from magray.training.fit import fit

            self.cache.write({"scores": None, "answer": None})  # those of the former estimators
            work_folder = self.folder / ".work"
            config = self._fit_config(trial)
            fit(self.config.store_uri, config, trial.train_set, folder, work_folder, progress, tracking)
            return {}

        folder = self.estimator_folder(*trial)
        cached, seconds = self.cache.run(*self._fit_stage(trial, films), work)
        return StageResult(f"estimator of {trial.train_set} µm in {folder}", cached, seconds)

    def _fit_config(self, trial: SeededFit) -> FitConfig:
        return self.config.fit.model_copy(update={"seed": trial.seed})

    def _fit_stage(self, trial: SeededFit, films: list[str]) -> tuple[str, Any, list[Path]]:
        """Return the name of a fit as a stage, its inputs, and the files that it makes."""
        from magray.estimator.folders import DESCRIPTION, WEIGHTS

        left_out = {"train_scales", "seeds", "workers", "start_from"}
        train_config, start = self._fit_config(trial).model_dump_json(exclude=left_out), self._start()
        inputs = [train_config, str(trial.train_set), films, *([start.sha256] if start else [])]
        folder = self.estimator_folder(*trial)
        return _stage_name(trial), inputs, [folder / WEIGHTS, folder / DESCRIPTION]

    def _remove_checkpoints(self) -> None:
        """Remove the checkpoints of fits, and no other file in their folder."""
        work = self.folder / ".work"
        for folder in work.glob("fit-*"):
            if re.fullmatch("fit-[0-9a-f]{16}", folder.name) and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty: the trials of a search lie there
            work.rmdir()

    def study(self) -> StageResult:
        """Test every estimator at every test scale, and write predictions.parquet and study.parquet."""
        from magray.evaluation.study import STUDY, TWO_NUMBERS, Trial, run_study

        def work() -> Facts:
            predictions, study = run_study(self.config.store_uri, estimators, scales)
            write_table(predictions, files[0])
            write_table(study, files[1])
            return {"scores": _scores(study, self.config.fit.seed)}

        scales = tuple(self.config.study.test_scales)
        estimators = {Trial(str(fit.train_set), fit.seed): self.estimator_folder(*fit) for fit in self.fits}
        files = [self.folder / "predictions.parquet", self.folder / "study.parquet"]
        inputs = [self._fit_fingerprints(), scales, self._converged_films()]
        cached, seconds = self.cache.run("study", inputs, files, work, "scores")
        table = read_table(files[1], STUDY)
        trained = table.filter(pc.and_(table["trained"], pc.not_equal(table["train_set"], TWO_NUMBERS)))
        worst = pc.min(trained["r2"]).as_py() if trained.num_rows else float("nan")
        text = f"{table.num_rows} rows of R², MAE and bias; R² ≥ {worst:.2f} at trained scales"
        return StageResult(text, cached, seconds)

    def wall_ablation(self) -> StageResult:
        """Test the estimators of one scale on films whose domains or walls alone are rescaled.

        Write wall_ablation.parquet. Raises UserError if no estimator is trained at one scale.
        """
        from magray.evaluation.study import Trial
        from magray.evaluation.wall_ablation import FILE, WALL_ABLATION, ablate

        def work() -> Facts:
            write_table(ablate(self.config.store_uri, single_scale, scales), path)
            return {}

        scales = tuple(sorted({scale for fit in self.fits for scale in fit.train_set.scales_um}))
        path = self.folder / FILE
        single_scale = {
            Trial(str(fit.train_set), fit.seed): self.estimator_folder(*fit)
            for fit in self.fits
            if len(fit.train_set.scales_um) == 1
        }
        if not single_scale:
            raise UserError("no estimator is trained at one scale alone; add such a training set to fit.train_scales")
        inputs = [self._fit_fingerprints(), scales, self._converged_films()]
        cached, seconds = self.cache.run("wall ablation", inputs, [path], work)
        rows = read_table(path, WALL_ABLATION).num_rows
        return StageResult(f"{rows} rows of errors with domains or walls rescaled", cached, seconds)

    def scale_probe(self) -> StageResult:
        """Probe the estimators of several scales for the scale of a picture, and write scale_probe.parquet.

        Raises UserError if all estimators are trained at one scale.
        """
        from magray.evaluation.scale_probe import FILE, PROBE, run_scale_probe
        from magray.evaluation.study import Trial

        def work() -> Facts:
            write_table(run_scale_probe(self.config.store_uri, estimators, scales), path)
            return {}

        scales, path = tuple(self.config.study.test_scales), self.folder / FILE
        estimators = {
            Trial(str(fit.train_set), fit.seed): self.estimator_folder(*fit)
            for fit in self.fits
            if len(fit.train_set.scales_um) > 1
        }
        if not estimators:
            raise UserError("no estimator is trained at several scales; add such a training set to fit.train_scales")
        inputs = [self._fit_fingerprints(), scales, self._converged_films()]
        cached, seconds = self.cache.run("scale probe", inputs, [path], work)
        nearby = pc.mean(read_table(path, PROBE)["nearby"]).as_py()
        return StageResult(f"{nearby:.0%} of the pictures are taken for the nearest trained scales", cached, seconds)

    def estimate_held_out(self) -> StageResult:
        """Write a picture of a film that no estimator has seen, and estimate its parameters from that file."""

        def work() -> Facts:
            write_view(open_store(self.config.store_uri), film["film_id"], scale_um, self.microscope, picture)
            answer = estimate_pictures(picture, estimator=folder, scale_um=scale_um)
            constants = {
                name: {"value": value, "error": answer.errors[name], "true": film[name], "unit": answer.units[name]}
                for name, value in answer.values.items()
            }
            about = {"picture": picture.name, "film_id": film["film_id"], "scale_um": scale_um, "text": str(answer)}
            return {"answer": about | {"warnings": answer.warnings, "constants": constants}}

        train_set = self.config.fit.train_scales[0]
        folder, scale_um = self.estimator_folder(train_set), max(train_set.scales_um)
        stage, inputs, files = self._estimate_stage()
        (_, film), (picture,) = inputs, files
        cached, seconds = self.cache.run(stage, inputs, files, work, "answer")
        answer = self.summary.answer
        assert answer is not None  # the stage is done
        return StageResult(answer.text, cached, seconds, tuple(answer.warnings))

    def _estimate_stage(self) -> tuple[str, Any, list[Path]]:
        """Return the name, the inputs and the files of the held-out film's estimate."""
        film = held_out_film(open_store(self.config.store_uri), self.config.fit.targets)
        return "estimate", [self._fit_fingerprints(), film], [self.folder / "report" / PICTURE]

    def report(self) -> StageResult:
        """Write report/index.html and its figures. Raises UserError if the project has no study."""
        from magray.report.project import figure_names, write_report

        def work() -> Facts:
            summary, names = self.summary, figure_names(self.config)
            self.cache.write({"figures": sorted({*summary.figures, *names})})
            for name in summary.figures:
                (self.folder / "report" / name).unlink(missing_ok=True)
            if summary.answer and not self.cache.is_done(*self._estimate_stage()):
                summary.answer = None  # it comes from other estimators or another film
            write_report(self.folder, open_store(self.config.store_uri), self.config, summary)
            return {"figures": names}

        if not (self.folder / "study.parquet").exists():
            raise UserError(f"{self.folder} holds no study to report on; run magray study first")
        page, fingerprints = self.folder / "report" / "index.html", self.summary.fingerprints
        shown = [fingerprints.get(stage) for stage in ("study", "wall ablation", "estimate")]
        inputs = [shown, self._fit_fingerprints(), self.config.to_yaml(), versions()]
        cached, seconds = self.cache.run("report", inputs, [page], work)
        return StageResult(str(page), cached, seconds)

    def _check_scales(self) -> None:
        """Raise UserError unless every scale is a whole number of cells that fits into a film."""
        campaign = self.config.campaign
        scales = {scale for train_set in self.config.fit.train_scales for scale in train_set.scales_um}
        scales |= set(self.config.study.test_scales)
        check_room(sorted(scales), campaign.cell_size[0] * 1e9, min(campaign.cells))

    def _start(self) -> "StartingPoint | None":
        """Return what the fits start from; None for random weights.

        Raises UserError if they cannot start there, or it is one of this project's own estimators.
        """
        if (start := self.config.fit.start_from) is None:
            return None
        from magray.training.starting_point import StartingPoint

        if Path(start).resolve().is_relative_to((self.folder / "estimator").resolve()):
            raise UserError(f"fit.start_from: {start} is of this project, whose fits replace it; copy it elsewhere")
        return StartingPoint.of(self.config.fit)

    def _converged_films(self) -> list[str]:
        """Return the sorted ids of the committed films that converged, for training and for tests."""
        ids: list[str] = open_store(self.config.store_uri).films(columns=["film_id"])["film_id"].to_pylist()
        return ids

    def _fit_fingerprints(self) -> list[str | None]:
        fingerprints = self.summary.fingerprints
        return [fingerprints.get(_stage_name(trial)) for trial in self.fits]


def _stage_name(trial: SeededFit) -> str:
    """Return the name of a fit in summary.json."""
    return f"fit {trial.train_set} seed {trial.seed}"


def _scores(study: pa.Table, seed: int) -> dict[str, Any]:
    """Return {parameter: {training set: {test scale: {r2, mae, bias, n, trained}}}} of the networks of one seed."""
    from magray.evaluation.study import TWO_NUMBERS

    scores: dict[str, Any] = {}
    networks = (pc.field("train_set") != TWO_NUMBERS) & (pc.field("seed") == seed)
    for row in study.filter(networks).to_pylist():
        numbers = {name: row[name] if math.isfinite(row[name]) else None for name in ("r2", "mae", "bias")}
        sets = scores.setdefault(row["parameter"], {}).setdefault(row["train_set"], {})
        sets[f"{row['test_scale']:g}"] = numbers | {"n": row["n"], "trained": row["trained"]}
    return scores


def _config_of(plan: Path) -> str:
    """Return the config that a plan was made from, "" if there is no plan."""
    return read_notes(plan).get(CONFIG_KEY, b"").decode(errors="replace") if plan.exists() else ""


def _holds_films_of(plan: pa.Table, path: Path) -> bool:
    """Return whether a plan holds every film of the plan in a file."""
    ids = read_table(path, PLAN_SCHEMA, ["film_id"])["film_id"]
    return bool(pc.all(pc.is_in(ids, value_set=plan["film_id"].combine_chunks()), min_count=0).as_py())
