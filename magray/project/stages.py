"""The stages that turn a config into results in a project's folder. Each can be run alone, and is run once.

    plan.parquet  store/  simulate.jsonl  estimator/  study.parquet  predictions.parquet  report/  summary.json

The `StageCache` decides by summary.json what is done already.
"""

import contextlib
import math
import re
import shutil
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from magray.config import Config, FitConfig, parse_scales
from magray.environment import versions
from magray.errors import FilmsLost, UserError
from magray.files.atomic import read_notes, read_table, write_table
from magray.films import plan_table, sample
from magray.films.plan import PLAN_SCHEMA
from magray.imaging import MAX_MEGAPIXELS, cells_of, check_room, crop, read_picture, write_picture
from magray.project.cache import Facts, StageCache, duration, fingerprint
from magray.report.summary import Summary
from magray.store import open_store

if TYPE_CHECKING:
    from magray.estimator.estimator import Answer
    from magray.evaluation.study import Trial
    from magray.imaging.microscope import Microscope

CONFIG_KEY = b"magray.config"  # in the metadata of plan.parquet: the resolved config
PICTURE = "held_out_film.png"


@dataclass(frozen=True)
class StageResult:
    """The outcome of a stage in a sentence. cached: it had been done before, in `seconds`, and was not run again."""

    text: str
    cached: bool
    seconds: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Project:
    """The folder of one config, and the stages that fill it."""

    config: Config

    @property
    def folder(self) -> Path:
        """The folder that holds everything but a store that the config puts elsewhere."""
        return self.config.output

    def estimator_folder(self, train_set: str, seed: int | None = None) -> Path:
        """Return the folder of an estimator: estimator/ for the first training set, estimator/<set>/ for any other.

        The first seed (or None) has this folder, every other one a folder `seed-<number>` below estimator/<set>/.
        """
        top = self.folder / "estimator"
        first = seed in (None, self.config.fit.seed)
        if first and train_set == self.config.fit.train_scales[0]:
            return top
        return top / train_set if first else top / train_set / f"seed-{seed}"

    @property
    def trials(self) -> "list[Trial]":
        """Each training set with each seed."""
        from magray.evaluation.study import Trial

        fit = self.config.fit
        return [Trial(name, seed) for name in fit.train_scales for seed in range(fit.seed, fit.seed + fit.seeds)]

    @property
    def microscope(self) -> "Microscope | None":
        """The microscope model that its pictures are taken through, if any."""
        from magray.training.config import TrainConfig

        return TrainConfig.of(self.config.fit.model_dump()).microscope

    @property
    def summary(self) -> Summary:
        """The content of summary.json; an empty one if there is none yet. Raises UserError if it is damaged."""
        return self._cache.summary

    @cached_property
    def _cache(self) -> StageCache:
        return StageCache(self.config)

    def plan(self) -> StageResult:
        """Write plan.parquet. Raises UserError if the folder holds the plan of other films."""
        self._check_scales()
        path, summary, inputs = self.folder / "plan.parquet", self.summary, self.config.to_yaml()
        # a million films take a minute to sample
        if summary.plan and self._cache.is_done("plan", inputs, [path]) and _config_in(path) == inputs:
            return StageResult(summary.plan.text, True, summary.seconds.get("plan", 0.0), tuple(summary.plan.warnings))
        films = sample(self.config.campaign.sampling())
        table = plan_table(films, self.config.name).replace_schema_metadata({CONFIG_KEY: inputs})
        if path.exists() and not _ids(read_table(path, PLAN_SCHEMA)) <= _ids(table):
            raise UserError(f"{path} plans other films; choose another output, or remove the folder {self.folder}")
        start = time.monotonic()
        write_table(table, path)  # in the place of the former: another process may be about to read it
        seconds = round(time.monotonic() - start, 2)
        beyond = Counter(warning.partition(":")[2].strip() for film in films for warning in film.warnings)
        warnings = [f"{n} films have a D beyond the critical value: {warning}" for warning, n in beyond.items()]
        tests = sum(film.split == "test" for film in films)
        text = f"{len(films)} films planned, {len(films) - tests} to learn from and {tests} to test on"
        mark = {"plan": fingerprint(inputs)}
        facts: dict[str, Any] = {"plan": {"text": text, "warnings": warnings}, "seconds": {"plan": seconds}}
        self._cache.write(facts | {"made_from": mark, "done": mark})
        return StageResult(text, False, seconds, tuple(warnings))

    def simulate(self) -> StageResult:
        """Simulate the films of the plan that the store does not hold yet; simulate.jsonl is its log."""
        from magray.campaign.run import run_campaign

        self.plan()
        config, plan = self.config, read_table(self.folder / "plan.parquet", PLAN_SCHEMA)
        start, spent = time.monotonic(), self.summary.seconds.get("simulate", 0.0)
        try:
            done = run_campaign(
                plan,
                config.store_uri,
                config.simulate,
                campaign=config.name,
                log=self.folder / "simulate.jsonl",
            )
        except (KeyboardInterrupt, FilmsLost):
            self._cache.write(duration("simulate", spent + time.monotonic() - start))
            raise
        spent += done.seconds if done.simulated else 0.0
        counts = {"films": done.films, "failed": done.failed, "not_converged": done.not_converged}
        self._cache.write(counts | {"evaluations": done.evaluations} | duration("simulate", spent))
        text = f"{done.films} films in {done.evaluations:,} field evaluations"
        text += f", {done.not_converged} not converged" if done.not_converged else ""
        text += f", {done.failed} failed" if done.failed else ""
        return StageResult(text, done.simulated == 0, spent)

    def fit(self) -> list[StageResult]:
        """Fit an estimator for each training set and seed; side by side on several GPUs."""
        from magray.runtime.connect import connect
        from magray.runtime.resources import gpus

        films, at_once = self._learnable(), 1
        if not all(self._cache.is_done(*self._fit_order(trial, films)) for trial in self.trials):
            connect()
            at_once = max(1, int(gpus() / self.config.fit.workers))
        if at_once == 1:
            results = [self._fit(trial, films, progress=True) for trial in self.trials]
        else:
            results = self._fit_side_by_side(at_once, films)
        self._remove_checkpoints()
        return results

    def _remove_checkpoints(self) -> None:
        """Remove the checkpoints of fits, and nothing else that may lie there."""
        work = self.folder / ".work"
        for folder in work.glob("fit-*"):
            if re.fullmatch("fit-[0-9a-f]{16}", folder.name) and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # a search may have its trials there
            work.rmdir()

    def _fit_side_by_side(self, at_once: int, films: list[str]) -> list[StageResult]:
        import ray

        with ThreadPoolExecutor(at_once) as pool:
            try:
                return list(pool.map(lambda trial: self._fit(trial, films, progress=False), self.trials))
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)  # no further fit starts
                ray.shutdown()  # ends the fits that the threads wait for
                raise

    def _fit(self, trial: "Trial", films: list[str], progress: bool) -> StageResult:
        def work() -> Facts:
            from magray.training.fit import fit

            self._cache.write({"scores": None, "answer": None})  # those of the former estimators
            fit(
                self.config.store_uri,
                self._fit_config(trial),
                trial.train_set,
                folder,
                self.folder / ".work",
                progress,
            )
            return {}

        folder = self.estimator_folder(*trial)
        cached, seconds = self._cache.run(*self._fit_order(trial, films), work)
        return StageResult(f"estimator of {trial.train_set} µm in {folder}", cached, seconds)

    def _fit_config(self, trial: "Trial") -> FitConfig:
        return self.config.fit.model_copy(update={"seed": trial.seed})

    def _fit_order(self, trial: "Trial", films: list[str]) -> tuple[str, Any, list[Path]]:
        """Return a fit's name as a stage, its inputs, and the files that it makes."""
        from magray.estimator.estimator import DESCRIPTION, WEIGHTS

        train_config = self._fit_config(trial).model_dump_json(exclude={"train_scales", "seeds", "workers"})
        folder = self.estimator_folder(*trial)
        return _stage_of(trial), [train_config, trial.train_set, films], [folder / WEIGHTS, folder / DESCRIPTION]

    def study(self) -> StageResult:
        """Test every estimator at every test scale: predictions.parquet and study.parquet."""

        from magray.evaluation.study import STUDY, TWO_NUMBERS, run_study

        def work() -> Facts:
            predictions, study = run_study(self.config.store_uri, estimators, scales)
            write_table(predictions, files[0])
            write_table(study, files[1])
            return {"scores": _scores(study, self.config.fit.seed)}

        scales = tuple(self.config.study.test_scales)
        estimators = {trial: self.estimator_folder(*trial) for trial in self.trials}
        files = [self.folder / "predictions.parquet", self.folder / "study.parquet"]
        inputs = [self._fits(), scales, self._learnable()]
        cached, seconds = self._cache.run("study", inputs, files, work, "scores")
        table = read_table(files[1], STUDY)
        trained = table.filter(pc.and_(table["trained"], pc.not_equal(table["train_set"], TWO_NUMBERS)))
        worst = pc.min(trained["r2"]).as_py() if trained.num_rows else float("nan")
        return StageResult(
            f"{table.num_rows} rows of R², MAE and bias; R² ≥ {worst:.2f} at trained scales", cached, seconds
        )

    def causes(self) -> StageResult:
        """Explain the errors of single-scale estimators at the other scales, by walls and domains: causes.parquet.

        Raises UserError if no estimator is trained at one scale.
        """
        from magray.evaluation.wall_ablation import CAUSES, ablate

        def work() -> Facts:
            write_table(ablate(self.config.store_uri, lonely, scales), path)
            return {}

        scales = tuple(sorted({scale for trial in self.trials for scale in parse_scales(trial.train_set)}))
        seed, path = self.config.fit.seed, self.folder / "causes.parquet"
        lonely = {
            trial.train_set: self.estimator_folder(*trial)
            for trial in self.trials
            if trial.seed == seed and len(parse_scales(trial.train_set)) == 1
        }
        if not lonely:
            raise UserError("causes are those of estimators of one scale; add one to fit.train_scales")
        cached, seconds = self._cache.run("causes", [self._fits(), scales, self._learnable()], [path], work)
        return StageResult(f"{read_table(path, CAUSES).num_rows} rows of errors by their causes", cached, seconds)

    def estimate_held_out(self) -> StageResult:
        """Save a picture of one film that no estimator has seen, and estimate its constants from that file."""

        def work() -> Facts:
            self._write_view(film["film_id"], scale_um, picture)
            answer = estimate_pictures(picture, estimator=folder, scale_um=scale_um)
            constants = {
                name: {"value": value, "error": answer.errors[name], "true": film[name], "unit": answer.units[name]}
                for name, value in answer.values.items()
            }
            told = {"picture": picture.name, "film_id": film["film_id"], "scale_um": scale_um, "text": str(answer)}
            return {"answer": told | {"warnings": answer.warnings, "constants": constants}}

        train_set = self.config.fit.train_scales[0]
        folder, scale_um = self.estimator_folder(train_set), max(parse_scales(train_set))
        inputs, files = self._estimate_order()
        (_, film), (picture,) = inputs, files
        cached, seconds = self._cache.run("estimate", inputs, files, work, "answer")
        told = self.summary.answer
        assert told is not None  # the stage is done
        return StageResult(told.text, cached, seconds, tuple(told.warnings))

    def _estimate_order(self) -> tuple[Any, list[Path]]:
        """Return the inputs of the held-out film's answer, and the files that it makes."""
        return [self._fits(), self._held_out_film()], [self.folder / "report" / PICTURE]

    def report(self) -> StageResult:
        """Write report/index.html, and its figures as PNG."""

        def work() -> Facts:
            from magray.report import write_report

            summary = self.summary
            if summary.answer and not self._cache.is_done("estimate", *self._estimate_order()):
                summary.answer = None  # that of other estimators, or of another film
            write_report(self.folder, open_store(self.config.store_uri), self.config, summary)
            return {}

        if not (self.folder / "study.parquet").exists():
            raise UserError(f"{self.folder} holds no study to report on; run magray study first")
        page, made_from = self.folder / "report" / "index.html", self.summary.made_from
        found = [made_from.get(stage) for stage in ("study", "causes", "estimate")]
        inputs = [found, self._fits(), self.config.to_yaml(), versions()]
        cached, seconds = self._cache.run("report", inputs, [page], work)
        return StageResult(str(page), cached, seconds)

    def _check_scales(self) -> None:
        """Raise UserError unless every scale is a whole number of cells and fits into a film."""
        campaign = self.config.campaign
        scales = {scale for text in self.config.fit.train_scales for scale in parse_scales(text)}
        scales |= set(self.config.study.test_scales)
        check_room(sorted(scales), campaign.cell_size[0] * 1e9, min(campaign.cells))

    def _learnable(self) -> list[str]:
        """Return the sorted ids of the converged films, which fits and studies use."""
        ids: list[str] = open_store(self.config.store_uri).films(columns=["film_id"])["film_id"].to_pylist()
        return ids

    def _fits(self) -> list[str | None]:
        made_from = self.summary.made_from
        return [made_from.get(_stage_of(trial)) for trial in self.trials]

    def _write_view(self, film_id: str, scale_um: float, path: Path) -> None:
        """Save a corner of a film at `scale_um`, as simulated or through the microscope."""
        from magray.imaging.microscope import render_picture

        store, microscope = open_store(self.config.store_uri), self.microscope
        row = store.table(["pixel_nm"], pc.field("film_id") == film_id)
        corner = crop(store.images([film_id]), cells_of(scale_um, row["pixel_nm"][0].as_py()), 0, 0)[0]
        path.parent.mkdir(exist_ok=True)
        write_picture(path, corner if microscope is None else render_picture(corner, scale_um, microscope))

    def _held_out_film(self) -> dict[str, Any]:
        """Return the row of the test film with the smallest id: a choice that no answer can influence."""
        from magray.training.fit import check_finite

        store, targets = open_store(self.config.store_uri), self.config.fit.targets
        first = store.films("test", ["film_id", *targets]).slice(0, 1)
        if not first.num_rows:
            raise UserError("none of the films is a test film; plan more films (campaign.films)")
        check_finite(store, first, targets)
        film: dict[str, Any] = first.to_pylist()[0]
        return film


def estimate_pictures(
    *pictures: str | Path,
    estimator: str | Path,
    scale_um: float | None = None,
    pixel_nm: float | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> "Answer":
    """Return an estimator's answer for picture files of one film, given their scale or the size of a pixel."""
    from magray.estimator.estimator import Estimator

    shown = [read_picture(picture, max_megapixels) for picture in pictures]
    return Estimator.load(estimator).predict(shown, scale_um=scale_um, pixel_nm=pixel_nm)


def _stage_of(trial: "Trial") -> str:
    """Return a fit's name in summary.json."""
    return f"fit {trial.train_set} seed {trial.seed}"


def _scores(study: pa.Table, seed: int) -> dict[str, Any]:
    """Return parameter -> train set -> test scale -> {r2, mae, bias, n, trained}, for the networks of one seed."""
    from magray.evaluation.study import TWO_NUMBERS

    scores: dict[str, Any] = {}
    networks = (pc.field("train_set") != TWO_NUMBERS) & (pc.field("seed") == seed)
    for row in study.filter(networks).to_pylist():
        numbers = {name: row[name] if math.isfinite(row[name]) else None for name in ("r2", "mae", "bias")}
        sets = scores.setdefault(row["parameter"], {}).setdefault(row["train_set"], {})
        sets[f"{row['test_scale']:g}"] = numbers | {"n": row["n"], "trained": row["trained"]}
    return scores


def _config_in(plan: Path) -> str:
    """Return the config that a plan was made from; empty if there is no plan."""
    return read_notes(plan).get(CONFIG_KEY, b"").decode(errors="replace") if plan.exists() else ""


def _ids(films: pa.Table) -> set[str]:
    return set(films["film_id"].to_pylist())
