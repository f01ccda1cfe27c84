"""The quickstart: every stage of a project, from films to the estimate for a picture. Finished stages are skipped."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from magray.config import Config
from magray.errors import UserError
from magray.estimator.estimator import Estimator, shipped
from magray.evaluation.study import STUDY
from magray.files.atomic import read_table
from magray.imaging import read_picture
from magray.project.stages import Project, StageResult
from magray.report.labels import quantity
from magray.report.summary import HeldOutAnswer
from magray.store import open_store


def run(config: Config, console: Console) -> None:
    """Run all stages in the folder `config.output`, and print what each has done and in how many seconds."""
    project = Project(config)
    stages: list[tuple[str, Callable[[], StageResult | list[StageResult]]]] = [
        ("plan", project.plan),
        ("simulate", project.simulate),
        ("fit", project.fit),
        ("study", project.study),
        ("estimate", project.estimate_held_out),
        ("report", project.report),
    ]
    for number, (name, stage) in enumerate(stages, 1):
        console.rule(f"{number}/{len(stages)} {name}", align="left", style="dim")
        results = stage()
        for result in results if isinstance(results, list) else [results]:
            show_result(result, console)
    console.print(*tolerance_tables(project.folder / "study.parquet"))
    _show_answer(project, console)


def show_result(result: StageResult, console: Console) -> None:
    """Print what a stage did, when, and its warnings."""
    when = "done before" if result.cached else f"in {result.seconds:.1f} s"
    console.print(f"{escape(result.text)} [dim]({when})[/dim]", highlight=False, soft_wrap=True)
    for warning in result.warnings:
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)


def tolerance_tables(study: Path) -> list[Table]:
    """Return the study as tables for a terminal, one for each parameter; untrained scales are yellow."""
    tables: dict[str, Table] = {}
    before = ""
    for row in read_table(study, STUDY).to_pylist():
        shown = quantity(row["parameter"])
        table = tables.setdefault(shown.name, _empty_table(shown.label))
        table.add_row(
            row["train_set"] if row["train_set"] != before or not table.row_count else "",
            f"{row['test_scale']:g}",
            "trained" if row["trained"] else "untrained",
            f"{row['r2']:.3f}",
            f"{row['mae'] * shown.factor:.3g}",
            f"{row['bias'] * shown.factor:+.2g}",
            str(row["n"]),
            style=None if row["trained"] else "yellow",
        )
        before = row["train_set"]
    return list(tables.values())


def _empty_table(label: str) -> Table:
    table = Table(title=f"Errors of {label} on films never seen", title_justify="left", pad_edge=False)
    table.box = box.SIMPLE_HEAD
    table.add_column("trained at, µm", no_wrap=True)
    table.add_column("tested at", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for heading in ("R²", "MAE", "bias", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _show_answer(project: Project, console: Console) -> None:
    summary, folder = project.summary, project.folder
    assert summary.answer is not None  # the stage before has just been done
    answer, picture = summary.answer, folder / "report" / summary.answer.picture
    command = f"magray estimate {picture} --estimator {folder / 'estimator'} --scale-um {answer.scale_um:g}"
    console.print(f"\nA film that no estimator has seen:\n$ {escape(command)}", soft_wrap=True)
    console.print(f"[bold]{escape(answer.text)}[/bold]  (true: {true_values(answer)})", highlight=False)
    _show_pretrained(project, picture, answer, console)
    seconds = sum(summary.seconds.values())
    console.print(
        f"\n{seconds / 60:.1f} minutes in all. Open {folder / 'report' / 'index.html'}", soft_wrap=True, markup=False
    )


def _show_pretrained(project: Project, picture: Path, answer: HeldOutAnswer, console: Console) -> None:
    """Print the estimates of those pretrained estimators that were trained on such films, pictures and scales."""
    store = open_store(project.config.store_uri)
    rows = store.table(filter=pc.field("film_id") == answer.film_id).to_pylist()
    if not rows:
        raise UserError(f"{project.folder / 'summary.json'} names film {answer.film_id}, which the store lacks")
    film = rows[0]
    for name in shipped():
        estimator, scale_um = Estimator.load(name), answer.scale_um
        about = estimator.metadata
        if about.knows(film) and about.microscope == project.microscope and about.trained_at(scale_um):
            console.print(f"\nAn estimator that comes with magray, of {about.training_films:,} films:", soft_wrap=True)
            command = f"$ magray estimate {picture} --estimator {name} --scale-um {scale_um:g}"
            console.print(command, soft_wrap=True, markup=False)
            console.print(f"[bold]{estimator.predict(read_picture(picture), scale_um)}[/bold]", highlight=False)


def true_values(answer: HeldOutAnswer) -> str:
    """Return the constants that the film of an answer was simulated with, in practical units."""
    words = []
    for name, constant in answer.constants.items():
        shown = quantity(name)
        words.append(f"{constant.true * shown.factor:.3g} {shown.unit}".rstrip())
    return ", ".join(words)
