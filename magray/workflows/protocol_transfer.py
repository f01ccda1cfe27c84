"""Does an estimator outlive the protocol that made its films? Trained under one protocol, tested under all.

A simulated film gets its domains in a way of its own: quenched for a nanosecond or for ten, with more damping or less,
minimised or not. A real film has not been asked. If an estimator that was trained under one protocol reads films of
another as well as its own, then what it reads is the material; if not, its error across protocols is the least that
it may err by on a real film.
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

OWN = {"films", "seed", "protocol"}  # what projects may differ in
PROTOCOLS = pa.schema([("train_project", pa.string()), ("test_project", pa.string()), *STUDY])


def compare_protocols(config: ProtocolsConfig, folder: Path) -> pa.Table:
    """The table PROTOCOLS, also written to protocols.parquet: each project's estimator on the test films of all.

    Each project's store must be filled. Estimators that are there already are not fitted again. folder: from which the
    paths of the projects are. Raises UserError unless the projects are of the same films but for their protocol.
    """
    projects = [load_config(folder / path) for path in config.projects]
    check_alike(projects)
    estimators: dict[Trial, Path] = {}
    for one in projects:
        project = Project(_alone(one, config))
        project.fit()
        estimators |= {Trial(one.name, trial.seed): project.estimator_folder(*trial) for trial in project.trials}
    parts = []
    for one in projects:
        _, study = run_study(one.store_uri, estimators, config.test_scales)
        study = study.filter(pc.not_equal(study["train_set"], TWO_NUMBERS))
        columns = {name: study[name] for name in STUDY.names} | {
            "train_project": study["train_set"],
            "test_project": pa.repeat(one.name, study.num_rows),
            "train_set": pa.repeat(config.train_set, study.num_rows),
        }
        parts.append(pa.table({name: columns[name] for name in PROTOCOLS.names}).cast(PROTOCOLS))
    table = pa.concat_tables(parts)
    write_table(table, config.output / "protocols.parquet")
    return table


def check_alike(projects: Sequence[Config]) -> None:
    """Raise UserError unless the projects have names of their own, and the same films but for OWN."""
    first = projects[0]
    if len({one.name for one in projects}) < len(projects):
        raise UserError(f"projects: two have the same name; each needs one of its own, such as {first.name}-quenched")
    if len({one.campaign.seed for one in projects}) < len(projects):
        raise UserError("projects: two have the same campaign.seed, so that the tests would show films of the training")
    for one in projects[1:]:
        if one.fit.targets != first.fit.targets:
            raise UserError(f"projects: {one.name} and {first.name} have other fit.targets; give all the same")
        for name in CampaignConfig.model_fields.keys() - OWN:
            if getattr(one.campaign, name) != getattr(first.campaign, name):
                raise UserError(
                    f"projects: {one.name} and {first.name} differ in campaign.{name}, not in protocol only"
                )


def _alone(project: Config, config: ProtocolsConfig) -> Config:
    """The project with the fits of the comparison only, in a folder of its own; its films stay where they are."""
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
