"""Find out what tells networks the scale of a picture, and whether they bear other scales without it.

A project's fits are repeated in settings that take cues away: grains larger than a pixel, pixels that begin anywhere in
a cell, blur and noise that are the same in pixels at every scale. A probe measures how well each network recognises the
trained scales; the study, how wrong it is at others.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console

from magray.config import Config, CueSetting, ScaleCuesConfig, load_config, load_scale_cues
from magray.evaluation.scale_probe import FILE as PROBE_FILE
from magray.evaluation.scale_probe import PROBE
from magray.evaluation.study import STUDY
from magray.files.atomic import read_table, write_table
from magray.films.plan import PLAN_SCHEMA
from magray.imaging import shifted
from magray.project.stages import Project
from magray.report.scale_cues import write_scale_cues
from magray.store import STORE_SCHEMA, Store, create_store, open_store

FILE = "scale_cues.parquet"
PROBED = ("read_as", "nearby")  # columns of PROBE; NaN for the baseline, and for networks of one scale
SCALE_CUES = pa.schema([("setting", pa.string()), *STUDY, *(PROBE.field(name) for name in PROBED)])


@dataclass(frozen=True)
class Setting:
    """A setting of a study: its project, and the store that its films are made for or are resampled from."""

    config: CueSetting
    project: Project
    simulated: Path


def run(configs: Sequence[Path], results: Path, console: Console, overrides: Sequence[str] = ()) -> Path:
    """Run every setting of some studies that is not done yet, write `results` after each, and return its page.

    overrides: as in `load_config`, for the project in every setting. Raises UserError as `load_config`.
    """
    studies = [(path.parent, load_scale_cues(path)) for path in configs]
    settings = [setting for folder, config in studies for setting in settings_of(config, folder, overrides)]
    done: list[pa.Table] = []
    for setting in settings:
        console.rule(f"{setting.project.config.name}: {setting.config.name}", align="left", style="dim")
        _run_stages(setting, console)
        done.append(_scores(setting.config.name, setting.project))
        table = pa.concat_tables(done)
        write_table(table, results / FILE)
        page = write_scale_cues(table, results)
    return page


def _run_stages(setting: Setting, console: Console) -> None:
    project = setting.project
    if setting.config.random_phase:
        _in_store(project, setting.simulated).simulate().print_to(console)
        with_random_phase(open_store(setting.simulated), project.config.store_uri)
    project.simulate().print_to(console)
    for result in project.fit():
        result.print_to(console)
    project.study().print_to(console)
    project.scale_probe().print_to(console)


def settings_of(config: ScaleCuesConfig, folder: Path, overrides: Sequence[str] = ()) -> list[Setting]:
    """Return the settings with their projects. Those with the same campaign share its films."""
    found = []
    for setting in config.settings:
        given = load_config(folder / config.project, [*config.change, *setting.change, *overrides])
        campaign = hashlib.sha256(given.campaign.model_dump_json().encode()).hexdigest()[:8]
        simulated, output = config.output / f"films-{campaign}" / "store", config.output / setting.name
        store = output / "store" if setting.random_phase else simulated
        project = _in_store(Project(given.model_copy(update={"output": output})), store)
        found.append(Setting(setting, project, simulated))
    return found


def _in_store(project: Project, store: Path) -> Project:
    simulate = project.config.simulate.model_copy(update={"store": str(store)})
    config: Config = project.config.model_copy(update={"simulate": simulate})
    return Project(config)


def with_random_phase(simulated: Store, uri: str) -> Store:
    """Copy a store to `uri`, with each film on cells that begin at a random place in the simulated ones.

    Pixels of a picture then begin anywhere in a cell, also where they are a whole number of cells wide. Films that are
    there already are left out.
    """
    copy = create_store(uri, simulated.campaign, simulated.table(PLAN_SCHEMA.names))
    for rows in simulated.batches(STORE_SCHEMA.names):
        missing = copy.missing(rows)
        if missing.num_rows:
            copy.commit(_resampled(missing))
    return copy


def _resampled(films: pa.Table) -> pa.Table:
    """Return rows of a store, with their pictures on other cells."""
    column = films.schema.get_field_index("image")
    pictures = [
        None if image is None else _on_other_cells(image, film_id, (height, width))
        for image, film_id, height, width in zip(
            *(films[name].to_pylist() for name in ("image", "film_id", "height", "width")), strict=True
        )
    ]
    return films.set_column(column, STORE_SCHEMA.field("image"), pa.array(pictures, pa.binary()))


def _on_other_cells(image: bytes, film_id: str, shape: tuple[int, int]) -> bytes:
    down, across = np.random.default_rng(int(film_id, 16)).random(2)
    picture = np.frombuffer(image, np.uint8).reshape(1, *shape)
    return bytes(np.rint(shifted(picture, down, across)).astype(np.uint8).tobytes())


def _scores(name: str, project: Project) -> pa.Table:
    """Return SCALE_CUES of one setting: its study, with what the probe says where there is one."""
    study = read_table(project.folder / "study.parquet", STUDY)
    probed = {_key(row): row for row in read_table(project.folder / PROBE_FILE, PROBE).to_pylist()}
    rows = [
        row | {"setting": name, **{column: probed.get(_key(row), {}).get(column, math.nan) for column in PROBED}}
        for row in study.to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=SCALE_CUES)


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["train_set"], row["seed"], row["test_scale"]
