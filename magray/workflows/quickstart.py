"""Run all stages of a project, and estimate a film that no estimator has seen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from rich.console import Console
from rich.markup import escape

from magray.config import Config
from magray.errors import UserError
from magray.estimator.any_film import estimate
from magray.estimator.estimator import Estimator
from magray.estimator.folders import shipped
from magray.imaging import read_picture
from magray.project.stages import Project, StageResult
from magray.report.labels import quantity
from magray.report.summary import HeldOutAnswer
from magray.report.terminal import tolerance_tables
from magray.store import open_store


def default_config() -> Path:
    """Return the config of a checkout, in the working folder, or else its copy in the installed package."""
    own = Path("configs") / "quickstart.yaml"
    return own if own.is_file() else Path(__file__).with_name("quickstart.yaml")


def run(config: Config, console: Console) -> None:
    """Run every stage that is not done yet, and print the outcome and time of each, the scores and the estimate."""
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
            result.print_to(console)
    console.print(*tolerance_tables(project.folder / "study.parquet"))
    _print_answer(project, console)


def _print_answer(project: Project, console: Console) -> None:
    summary, folder = project.summary, project.folder
    assert summary.answer is not None  # the stage `estimate` has just been done
    answer, picture = summary.answer, folder / "report" / summary.answer.picture
    command = f"magray estimate {picture} --estimator {folder / 'estimator'} --scale-um {answer.scale_um:g}"
    console.print(f"\nA film that no estimator has seen:\n$ {escape(command)}", soft_wrap=True)
    console.print(f"[bold]{escape(answer.text)}[/bold]  (true: {_true_values(answer)})", highlight=False)
    _print_other_answers(project, picture, answer, console)
    seconds = sum(summary.seconds.values())
    console.print(
        f"\n{seconds / 60:.1f} minutes in total. Open {folder / 'report' / 'index.html'}", soft_wrap=True, markup=False
    )


def _print_other_answers(project: Project, picture: Path, answer: HeldOutAnswer, console: Console) -> None:
    """Print the answers of other estimators to the same picture.

    These are the one that the fit started from, whatever it knows, and shipped ones that were trained on such films, at
    this scale, as seen here.
    """
    store = open_store(project.config.store_uri)
    rows = store.table(filter=pc.field("film_id") == answer.film_id).to_pylist()
    if not rows:
        raise UserError(
            f"{project.folder / 'summary.json'} names film {answer.film_id}, which the store lacks; "
            "move summary.json away to run its stages again"
        )
    film, start = rows[0], project.config.fit.start_from
    for name in dict.fromkeys([*([start] if start else []), *shipped()]):
        estimator, scale_um = Estimator.load(name), answer.scale_um
        about = estimator.metadata
        knows = about.knows(film) and about.microscope == project.microscope and about.trained_at(scale_um)
        if not knows and name != start:
            continue
        origin = "The estimator that the fit started from" if name == start else "An estimator that ships with magray"
        whose = f"of {about.training_films:,} films" + ("" if knows else ", none of which are like this one")
        console.print(f"\n{origin}, {whose}:", soft_wrap=True)
        command = f"$ magray estimate {picture} --estimator {name} --scale-um {scale_um:g}"
        console.print(command, soft_wrap=True, markup=False)
        console.print(f"[bold]{estimator.predict(read_picture(picture), scale_um)}[/bold]", highlight=False)
    _print_any_film_answer(project, picture, answer, film, console)


def _print_any_film_answer(
    project: Project, picture: Path, answer: HeldOutAnswer, film: dict[str, Any], console: Console
) -> None:
    """Print the answer of the estimator for any film, which is told all other constants, if it knows such films."""
    constants = {"Ms": film["Ms"], "Ku1": film["Ku1"], "Aex": film["Aex"], "D": film["D"], "thickness": film["dz"]}
    known = {name: value for name, value in constants.items() if name not in answer.constants}
    kinds = {"dmi": film["dmi"], "instrument": "none" if project.microscope is None else "microscope"}
    try:
        posterior = estimate(read_picture(picture), scale_um=answer.scale_um, known=known, **kinds)
    except UserError:  # no perpendicular film, or no picture that it can read
        return
    if posterior.trust == "refused":
        return
    console.print("\nThe estimator for any film, which is told the other constants (magray estimate):", soft_wrap=True)
    console.print(f"[bold]{escape(str(posterior))}[/bold]", highlight=False)


def _true_values(answer: HeldOutAnswer) -> str:
    """Return the true parameters of the answer's film, in practical units."""
    texts = []
    for name, constant in answer.constants.items():
        shown = quantity(name)
        texts.append(f"{constant.true * shown.factor:.3g} {shown.unit}".rstrip())
    return ", ".join(texts)
