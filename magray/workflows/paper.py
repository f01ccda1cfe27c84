"""Run the campaigns, fits and studies of the paper, and write its figures and their numbers into one folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from magray.config import Config, FigureConfig, load_config, load_figure
from magray.errors import UserError
from magray.evaluation.study import PREDICTIONS, STUDY
from magray.evaluation.wall_ablation import FILE, WALL_ABLATION
from magray.files.atomic import read_table, write_table
from magray.project.stages import Project
from magray.report.figures import subsample
from magray.report.paper import PaperFigure, write_paper
from magray.report.scores import of_parameter

# The same stages on few, coarse films, for tests. Their scores mean nothing.
SMALL = (
    "campaign.films=16",
    "campaign.cells=[256, 256]",
    "campaign.cell_size=[8 nm, 8 nm, 4 nm]",
    "campaign.protocol.stages=[{quench: {alpha: 0.5, duration: 30 ps}}]",
    "fit.seeds=1",
    "fit.epochs=1",
    "fit.views_per_epoch=32",
    "fit.batch=16",
    "fit.width=0.5",
    "study.test_scales=[0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]",
)


MICROSCOPE_STUDY = "microscope_study_{}.parquet"  # in `results`, for each config of a microscope


@dataclass(frozen=True)
class Figure:
    """A figure of the paper, and the project whose study it shows."""

    config: FigureConfig
    project: Project

    @property
    def parameter(self) -> str:
        """Return the parameter that its estimators estimate."""
        return self.project.config.fit.targets[0]


def run(configs: Path, results: Path, console: Console, small: bool = False, overrides: Sequence[str] = ()) -> None:
    """Run every stage that the figures in `configs`/studies need and that is not done yet, and write `results`.

    small: use a few coarse films, which takes minutes, to see that everything works. overrides: as in `load_config`,
    for every project. Raises UserError if `configs` holds no figures, or a figure needs scales that its project lacks.
    """
    figures = _figures(configs, overrides, small)
    projects = {figure.project.config.name: figure.project for figure in figures}
    for name, project in projects.items():
        console.rule(name, align="left", style="dim")
        project.simulate().print_to(console)
        for result in project.fit():
            result.print_to(console)
        project.study().print_to(console)
        project.wall_ablation().print_to(console)
    for name, project in _through_microscopes(configs, projects, small, overrides).items():
        console.rule(f"{name}, microscope", align="left", style="dim")
        for result in project.fit():
            result.print_to(console)
        project.study().print_to(console)
        results.mkdir(parents=True, exist_ok=True)
        write_table(read_table(project.folder / "study.parquet", STUDY), results / MICROSCOPE_STUDY.format(name))
    console.rule("results", align="left", style="dim")
    _write_results(figures, projects, results)
    console.print(f"{len(figures)} figures in {results}", highlight=False, soft_wrap=True, markup=False)


def _figures(configs: Path, overrides: Sequence[str], small: bool) -> list[Figure]:
    paths = sorted((configs / "studies").glob("fig*.yaml"))
    if not paths:
        raise UserError(f"{configs}/studies holds no fig*.yaml; give the folder with the paper's configs")
    figures = []
    for path in paths:
        figure = load_figure(path)
        config = _config(path.parent / figure.project, small, overrides)
        _check(path, figure, [str(train_set) for train_set in config.fit.train_scales], config.study.test_scales)
        figures.append(Figure(figure, Project(config)))
    return figures


def _through_microscopes(
    configs: Path, projects: Mapping[str, Project], small: bool, overrides: Sequence[str]
) -> dict[str, Project]:
    """Return the projects of `configs`/microscope by the names of their files, each on the films of its namesake.

    Raises UserError if `projects` has none of that name.
    """
    found = {}
    for path in sorted((configs / "microscope").glob("*.yaml")):
        config = _config(path, small, overrides)
        if config.name not in projects:
            raise UserError(f"{path}: no figure shows {config.name}; give the name of a project of configs/studies")
        store = projects[config.name].config.store_uri
        simulate = config.simulate.model_copy(update={"store": store})
        found[path.stem] = Project(config.model_copy(update={"simulate": simulate}))
    return found


def _config(path: Path, small: bool, overrides: Sequence[str]) -> Config:
    """Return the config of a project; a small one has a folder of its own."""
    if not small:
        return load_config(path, overrides)
    config = load_config(path, (*SMALL, *overrides))
    return config.model_copy(update={"output": config.output.with_name(f"{config.output.name}-small")})


def _check(path: Path, figure: FigureConfig, train: Sequence[str], test: Sequence[float]) -> None:
    for panel in figure.panels:
        if panel.train not in train:
            raise UserError(
                f"{path}: panel {panel.name}: {figure.project} trains {', '.join(train)}, not {panel.train}"
            )
        if missing := [f"{scale:g}" for scale in panel.test if scale not in test]:
            raise UserError(f"{path}: panel {panel.name}: {figure.project} does not test {', '.join(missing)} µm")


def _write_results(figures: Sequence[Figure], projects: dict[str, Project], results: Path) -> None:
    """Write the tables as Parquet, and index.html and README.md with their figures."""
    results.mkdir(parents=True, exist_ok=True)
    study, causes = (
        pa.concat_tables(_with_project(name, project, table, schema) for name, project in projects.items())
        for table, schema in (("study.parquet", STUDY), (FILE, WALL_ABLATION))
    )
    write_table(study, results / "study.parquet")
    write_table(causes, results / FILE)
    estimates = [_estimates(figure) for figure in figures]
    write_table(pa.concat_tables(estimates), results / "predictions.parquet")
    studies: dict[str, pa.Table] = {
        parameter: of_parameter(study.filter(pc.equal(study["project"], name)), parameter)
        for name, project in projects.items()
        for parameter in project.config.fit.targets
    }
    shown = [
        PaperFigure(figure.config, some, studies[figure.parameter])
        for figure, some in zip(figures, estimates, strict=True)
    ]
    write_paper(shown, studies, causes, microscope_studies(results), results)


def microscope_studies(results: Path) -> dict[str, pa.Table]:
    """Return {parameter: rows of STUDY} of the studies through a microscope that are in `results`."""
    tables = [read_table(path, STUDY) for path in sorted(results.glob(MICROSCOPE_STUDY.format("*")))]
    return {
        parameter: of_parameter(table, parameter)
        for table in tables
        for parameter in pc.unique(table["parameter"]).to_pylist()
    }


def _with_project(name: str, project: Project, table: str, schema: pa.Schema) -> pa.Table:
    rows = read_table(project.folder / table, schema)
    return rows.add_column(0, "project", pa.repeat(name, rows.num_rows))


def _estimates(figure: Figure) -> pa.Table:
    """Return the estimates of the first seed that a figure shows."""
    seed, parts = figure.project.config.fit.seed, []
    for panel in figure.config.panels:
        wanted = (pc.field("train_set") == panel.train) & (pc.field("seed") == seed)
        wanted &= pc.field("test_scale").isin(panel.test) & (pc.field("parameter") == figure.parameter)
        rows = read_table(figure.project.folder / "predictions.parquet", PREDICTIONS, filters=wanted)
        for scale in panel.test:
            some = subsample(rows.filter(pc.equal(rows["test_scale"], scale)).sort_by("film_id"))
            labels = {"figure": figure.config.figure, "panel": panel.name}
            for at, (label, text) in enumerate(labels.items()):
                some = some.add_column(at, label, pa.repeat(text, some.num_rows))
            parts.append(some.drop_columns(["seed", "view", "film_id"]))
    table = pa.concat_tables(parts)
    for name in ("set_value", "estimated"):
        i = table.schema.get_field_index(name)
        table = table.set_column(i, name, table[name].cast(pa.float32()))
    return table
