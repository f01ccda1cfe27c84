"""Test estimators that were trained on films of one protocol on films of all protocols.

The domains of a film depend on its protocol: how long it was quenched, with how much damping, minimised or not. The
history of a real film is not known exactly. If an estimator is as good on films of another protocol as on its own, it
reads the material. If not, its error across protocols is a lower bound for its error on a real film.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from magray.config import CampaignConfig, Config, ProtocolsConfig, load_config
from magray.errors import UserError
from magray.evaluation.study import STUDY, TWO_NUMBERS, Trial, run_study
from magray.files.atomic import write_table
from magray.project.stages import Project

_MAY_DIFFER = {"films", "seed", "protocol"}  # keys of `campaign`
PROTOCOLS = pa.schema([("train_project", pa.string()), ("test_project", pa.string()), *STUDY])


def compare_protocols(config: ProtocolsConfig, folder: Path) -> pa.Table:
    """Return PROTOCOLS, the scores of each project's estimators on the test films of all; write protocols.parquet.

    Each project's films must be simulated. Estimators that exist are not fitted again. folder: what the paths of the
    projects are relative to. Raises UserError unless the projects differ in their protocol only.
    """
    projects = [load_config(folder / path) for path in config.projects]
    check_alike(projects)
    estimators: dict[Trial, Path] = {}
    for one in projects:
        project = Project(_comparison_project(one, config))
        project.fit()
        estimators |= {Trial(one.name, fit.seed): project.estimator_folder(*fit) for fit in project.fits}
    parts = []
    for one in projects:
        _, study = run_study(one.store_uri, estimators, config.test_scales)
        study = study.filter(pc.not_equal(study["train_set"], TWO_NUMBERS))
        columns = {name: study[name] for name in STUDY.names} | {
            "train_project": study["train_set"],
            "test_project": pa.repeat(one.name, study.num_rows),
            "train_set": pa.repeat(str(config.train_set), study.num_rows),
        }
        parts.append(pa.table({name: columns[name] for name in PROTOCOLS.names}).cast(PROTOCOLS))
    table = pa.concat_tables(parts)
    write_table(table, config.output / "protocols.parquet")
    return table


def check_alike(projects: Sequence[Config]) -> None:
    """Raise UserError unless the projects have different names and differ in the keys _MAY_DIFFER only."""
    first = projects[0]
    if len({one.name for one in projects}) < len(projects):
        raise UserError(f"projects: two have the same name; rename one, for example to {first.name}-quenched")
    if len({one.campaign.seed for one in projects}) < len(projects):
        raise UserError(
            "projects: two have the same campaign.seed, so that test films would be training films; change one"
        )
    for one in projects[1:]:
        if one.fit.targets != first.fit.targets:
            raise UserError(f"projects: {one.name} and {first.name} have different fit.targets; give all the same")
        for name in CampaignConfig.model_fields.keys() - _MAY_DIFFER:
            if getattr(one.campaign, name) != getattr(first.campaign, name):
                raise UserError(
                    f"projects: {one.name} and {first.name} differ in campaign.{name}; only the protocol may differ"
                )


def _comparison_project(project: Config, config: ProtocolsConfig) -> Config:
    """Return a project with the fits of the comparison only, in a folder of its own, over the same store."""
    fit = project.fit.model_copy(
        update={"train_scales": [config.train_set], "epochs": config.epochs, "seeds": config.seeds}
    )
    return project.model_copy(
        update={
            "output": config.output / project.name,
            "simulate": project.simulate.model_copy(update={"store": project.store_uri}),
            "fit": fit,
        }
    )
