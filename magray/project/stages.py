"""A project's folder: the stages that turn a config into results. Each can be run alone, and each is done once.

    plan.parquet  store/  simulate.jsonl  estimator/  study.parquet  predictions.parquet  report/  summary.json

summary.json keeps, for every stage that has ended, a fingerprint of what it is made from. A stage whose fingerprint is
still the same and whose files are there is not run again.
"""

import contextlib
import hashlib
import json
import math
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from magray.config import Config, FitConfig, parse_scales
from magray.environment import cores, processor, versions
from magray.errors import FilmsLost, UserError
from magray.files.atomic import atomic_write, read_notes, read_table, write_table
from magray.films import plan_table, sample
from magray.films.plan import PLAN_SCHEMA
from magray.imaging import MAX_MEGAPIXELS, cells_of, check_room, crop, read_picture, write_picture
from magray.report.summary import Summary, read_summary
from magray.store import open_store

if TYPE_CHECKING:
    from magray.estimator.estimator import Answer
    from magray.evaluation.study import Trial
    from magray.imaging.microscope import Microscope

CONFIG_KEY = b"magray.config"  # in the metadata of plan.parquet: the resolved config
PICTURE = "held_out_film.png"
BY_STAGE = ("seconds", "made_from", "done")  # in summary.json
_WRITING = threading.Lock()  # of summary.json
Facts = dict[str, Any]  # entries of summary.json


@dataclass(frozen=True)
class StageResult:
    """What a stage has to say. `fresh`: something was done, in `seconds`; otherwise it had been done before."""

    text: str
    fresh: bool
    seconds: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Project:
    """The folder of one config, and the stages that fill it."""

    config: Config

    @property
    def folder(self) -> Path:
        """Where everything goes, but for a store that the config puts elsewhere."""
        return self.config.output

    def estimator_folder(self, train_set: str, seed: int | None = None) -> Path:
        """The first training set has estimator/ itself, every further one a folder of its name in there.

        The first seed's estimator (or None's) lies there, those of the others in folders below.
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
        """What its films are seen through; None if they are seen as they are."""
        from magray.training.config import TrainConfig

        return TrainConfig.of(self.config.fit.model_dump()).microscope

    @property
    def summary(self) -> Summary:
        """The content of summary.json; its skeleton if there is none yet. Raises UserError if it is damaged."""
        return read_summary(self.folder / "summary.json", self.config.name)

    def plan(self) -> StageResult:
        """Writes plan.parquet. Raises UserError if the folder holds the plan of other films."""
        self._check_scales()
        path, summary, inputs = self.folder / "plan.parquet", self.summary, self.config.to_yaml()
        # a million films take a minute to sample
        if summary.plan and self._is_done("plan", inputs, [path]) and _config_in(path) == inputs:
            return StageResult(summary.plan.text, False, summary.seconds.get("plan", 0.0), tuple(summary.plan.warnings))
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
        mark = {"plan": _fingerprint(inputs)}
        facts: dict[str, Any] = {"plan": {"text": text, "warnings": warnings}, "seconds": {"plan": seconds}}
        self._write(facts | {"made_from": mark, "done": mark})
        return StageResult(text, True, seconds, tuple(warnings))

    def simulate(self) -> StageResult:
        """Simulates the films of the plan that the store does not hold yet, and tells simulate.jsonl about it."""
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
            self._write(_seconds("simulate", spent + time.monotonic() - start))
            raise
        spent += done.seconds if done.simulated else 0.0
        counts = {"films": done.films, "failed": done.failed, "not_converged": done.not_converged}
        self._write(counts | {"evaluations": done.evaluations} | _seconds("simulate", spent))
        text = f"{done.films} films in {done.evaluations:,} field evaluations"
        text += f", {done.not_converged} not converged" if done.not_converged else ""
        text += f", {done.failed} failed" if done.failed else ""
        return StageResult(text, done.simulated > 0, spent)

    def fit(self) -> list[StageResult]:
        """Fits an estimator for each of the config's training sets and seeds; side by side, if there are more GPUs."""
        from magray.runtime.connect import connect
        from magray.runtime.resources import gpus

        films, at_once = self._learnable(), 1
        if not all(self._is_done(*self._fit_order(trial, films)) for trial in self.trials):
            connect()
            at_once = max(1, int(gpus() / self.config.fit.workers))
        if at_once == 1:
            outcomes = [self._fit(trial, films, progress=True) for trial in self.trials]
        else:
            outcomes = self._fit_side_by_side(at_once, films)
        self._remove_checkpoints()
        return outcomes

    def _remove_checkpoints(self) -> None:
        """Removes what fits go on from, and nothing else that may lie there."""
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
                pool.shutdown(wait=False, cancel_futures=True)  # none begins any more
                ray.shutdown()  # ends what the threads wait for
                raise

    def _fit(self, trial: "Trial", films: list[str], progress: bool) -> StageResult:
        def work() -> Facts:
            from magray.training.fit import fit

            self._write({"scores": None, "answer": None})  # they are of the former estimators
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
        fresh, seconds = self._run(*self._fit_order(trial, films), work)
        return StageResult(f"estimator of {trial.train_set} µm in {folder}", fresh, seconds)

    def _fit_config(self, trial: "Trial") -> FitConfig:
        return self.config.fit.model_copy(update={"seed": trial.seed})

    def _fit_order(self, trial: "Trial", films: list[str]) -> tuple[str, Any, list[Path]]:
        """A fit's name as a stage, what it is made from, and the files that it makes."""
        from magray.estimator.estimator import DESCRIPTION, WEIGHTS

        train_config = self._fit_config(trial).model_dump_json(exclude={"train_scales", "seeds", "workers"})
        folder = self.estimator_folder(*trial)
        return _stage_of(trial), [train_config, trial.train_set, films], [folder / WEIGHTS, folder / DESCRIPTION]

    def study(self) -> StageResult:
        """Tests every estimator at every test scale: predictions.parquet and study.parquet."""

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
        fresh, seconds = self._run("study", inputs, files, work, "scores")
        table = read_table(files[1], STUDY)
        trained = table.filter(pc.and_(table["trained"], pc.not_equal(table["train_set"], TWO_NUMBERS)))
        worst = pc.min(trained["r2"]).as_py() if trained.num_rows else float("nan")
        return StageResult(
            f"{table.num_rows} rows of R², MAE and bias; R² ≥ {worst:.2f} at trained scales", fresh, seconds
        )

    def causes(self) -> StageResult:
        """Tells for the estimators of one scale why they fail at the others that any is trained at: causes.parquet."""
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
            raise UserError("only estimators of one scale can tell why others fail; add one to fit.train_scales")
        fresh, seconds = self._run("causes", [self._fits(), scales, self._learnable()], [path], work)
        return StageResult(f"{read_table(path, CAUSES).num_rows} rows of errors by their causes", fresh, seconds)

    def estimate_held_out(self) -> StageResult:
        """Saves the picture of one film that no estimator has seen, and estimates its constants from that file."""

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
        fresh, seconds = self._run("estimate", inputs, files, work, "answer")
        told = self.summary.answer
        assert told is not None  # the stage is done
        return StageResult(told.text, fresh, seconds, tuple(told.warnings))

    def _estimate_order(self) -> tuple[Any, list[Path]]:
        """What the held-out film's answer is made from, and the files that come of it."""
        return [self._fits(), self._held_out_film()], [self.folder / "report" / PICTURE]

    def report(self) -> StageResult:
        """Draws report/index.html and the same figures as PNG."""

        def work() -> Facts:
            from magray.report import write_report

            summary = self.summary
            if summary.answer and not self._is_done("estimate", *self._estimate_order()):
                summary.answer = None  # it is of other estimators, or another film
            write_report(self.folder, open_store(self.config.store_uri), self.config, summary)
            return {}

        if not (self.folder / "study.parquet").exists():
            raise UserError(f"{self.folder} holds no study to report on; run magray study first")
        page, made_from = self.folder / "report" / "index.html", self.summary.made_from
        found = [made_from.get(stage) for stage in ("study", "causes", "estimate")]
        inputs = [found, self._fits(), self.config.to_yaml(), versions()]
        fresh, seconds = self._run("report", inputs, [page], work)
        return StageResult(str(page), fresh, seconds)

    def _run(
        self, stage: str, inputs: Any, files: Sequence[Path], work: Callable[[], Facts], *found: str
    ) -> tuple[bool, float]:
        """Does `work`, which makes `files` from `inputs`, unless it is done. Returns whether it did, and the seconds.

        Its facts, those that are called `found` among them, go into summary.json with the record of its end. Files made
        from other inputs go first, so that a stage cut short never leaves old beside new. Work that goes on where it
        was cut short adds to its seconds.
        """
        summary, mark = self.summary, _fingerprint(inputs)
        same = summary.made_from.get(stage) == mark
        spent = summary.seconds.get(stage, 0.0) if same else 0.0
        if self._is_done(stage, inputs, files) and all(getattr(summary, name) is not None for name in found):
            return False, spent
        if not same:
            if stage not in summary.made_from:
                self._check_no_strangers(files)
            for file in files:
                file.unlink(missing_ok=True)
        self._write({"made_from": {stage: mark}, "done": {stage: None}} | dict.fromkeys(found))
        start, end = time.monotonic(), {}
        try:
            end = work() | {"done": {stage: mark}}
        finally:
            spent += time.monotonic() - start
            self._write(end | _seconds(stage, spent))
        return True, spent

    def _check_no_strangers(self, files: Sequence[Path]) -> None:
        """Raises UserError if a file is there that no stage of this project has made: it would be lost."""
        if strangers := [file for file in files if file.exists()]:
            raise UserError(
                f"{strangers[0]} is not of this project, as {self.folder / 'summary.json'} says: "
                "move it away, or choose another output"
            )

    def _is_done(self, stage: str, inputs: Any, files: Sequence[Path]) -> bool:
        """Whether a stage has ended with these inputs, and its files are still there."""
        return self.summary.done.get(stage) == _fingerprint(inputs) and all(file.exists() for file in files)

    def _write(self, news: Facts) -> None:
        """Updates summary.json, of which `seconds`, `made_from` and `done` keep what they have of other stages.

        The file is replaced as a whole. Fits side by side write in turn.
        """
        facts: Facts = {"config": self.config.model_dump(mode="json"), "versions": versions()}
        facts |= {"machine": f"{cores()} cores, {processor()}"}
        with _WRITING:
            before = self.summary.model_dump(exclude_unset=True)
            news = {name: before.get(name, {}) | new if name in BY_STAGE else new for name, new in news.items()}
            text = json.dumps(before | facts | news, indent=2, ensure_ascii=False)
            with atomic_write(self.folder / "summary.json") as unfinished:
                unfinished.write_text(text + "\n", encoding="utf-8")

    def _check_scales(self) -> None:
        """Raises UserError unless every scale is a whole number of cells that fits into a film."""
        campaign = self.config.campaign
        scales = {scale for text in self.config.fit.train_scales for scale in parse_scales(text)}
        scales |= set(self.config.study.test_scales)
        check_room(sorted(scales), campaign.cell_size[0] * 1e9, min(campaign.cells))

    def _learnable(self) -> list[str]:
        """Ids of the committed films that converged, sorted: those that are learned from and tested on."""
        ids: list[str] = open_store(self.config.store_uri).films(columns=["film_id"])["film_id"].to_pylist()
        return ids

    def _fits(self) -> list[str | None]:
        made_from = self.summary.made_from
        return [made_from.get(_stage_of(trial)) for trial in self.trials]

    def _write_view(self, film_id: str, scale_um: float, path: Path) -> None:
        """Saves the corner of a film that is seen at `scale_um`: its cells, or what the microscope shows."""
        from magray.imaging.microscope import render_picture

        store, microscope = open_store(self.config.store_uri), self.microscope
        row = store.table(["pixel_nm"], pc.field("film_id") == film_id)
        corner = crop(store.images([film_id]), cells_of(scale_um, row["pixel_nm"][0].as_py()), 0, 0)[0]
        path.parent.mkdir(exist_ok=True)
        write_picture(path, corner if microscope is None else render_picture(corner, scale_um, microscope))

    def _held_out_film(self) -> dict[str, Any]:
        """The test film with the smallest id: any film would do, as long as nobody chose it for its answer."""
        from magray.training.fit import check_finite

        store, targets = open_store(self.config.store_uri), self.config.fit.targets
        first = store.films("test", ["film_id", *targets]).slice(0, 1)
        if not first.num_rows:
            raise UserError("none of the films is one to test on; plan more films (campaign.films)")
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
    """The answer of an estimator for a film's pictures in files, at a scale or with a size of a pixel."""
    from magray.estimator.estimator import Estimator

    shown = [read_picture(picture, max_megapixels) for picture in pictures]
    return Estimator.load(estimator).predict(shown, scale_um=scale_um, pixel_nm=pixel_nm)


def _stage_of(trial: "Trial") -> str:
    """The name of a fit in summary.json."""
    return f"fit {trial.train_set} seed {trial.seed}"


def _seconds(stage: str, seconds: float) -> Facts:
    return {"seconds": {stage: round(seconds, 2)}}


def _scores(study: pa.Table, seed: int) -> dict[str, Any]:
    """parameter -> train set -> test scale -> {r2, mae, bias, n, trained}, of the networks of one seed."""
    from magray.evaluation.study import TWO_NUMBERS

    scores: dict[str, Any] = {}
    networks = (pc.field("train_set") != TWO_NUMBERS) & (pc.field("seed") == seed)
    for row in study.filter(networks).to_pylist():
        numbers = {name: row[name] if math.isfinite(row[name]) else None for name in ("r2", "mae", "bias")}
        sets = scores.setdefault(row["parameter"], {}).setdefault(row["train_set"], {})
        sets[f"{row['test_scale']:g}"] = numbers | {"n": row["n"], "trained": row["trained"]}
    return scores


def _fingerprint(inputs: Any) -> str:
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def _config_in(plan: Path) -> str:
    """The config that a plan was made from; empty if there is none."""
    return read_notes(plan).get(CONFIG_KEY, b"").decode(errors="replace") if plan.exists() else ""


def _ids(films: pa.Table) -> set[str]:
    return set(films["film_id"].to_pylist())
