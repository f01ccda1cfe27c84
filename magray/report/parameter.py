"""Draw the sections of a page that are about one parameter: tolerance, scores and causes.

The pages of a project and of the paper share them; `templates/macros.html` lays them out.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa

from magray.report.curves import draw_curves, draw_heat_map
from magray.report.labels import quantity
from magray.report.scores import of_parameter, parameter_of, seeds_of
from magray.report.tables import score_table, tolerance_table, wall_ablation_table


def parameter_sections(study: pa.Table, causes: pa.Table | None, folder: Path) -> dict[str, Any]:
    """Draw the error curves and the heat map of a study into a folder; return what the templates need.

    causes: rows of WALL_ABLATION, of which those about this parameter are shown.
    """
    name = parameter_of(study)
    curves, heat_map = parameter_figures(name)
    draw_curves(study, folder / curves)
    draw_heat_map(study, folder / heat_map)
    mine = None if causes is None else of_parameter(causes, name)
    return {
        "quantity": quantity(name),
        "seeds": max(len(rows) for rows in seeds_of(study).values()),
        "curves": curves,
        "heat_map": heat_map,
        "tolerance": tolerance_table(study),
        "scores": score_table(study),
        "causes": wall_ablation_table(mine) if mine is not None and mine.num_rows else None,
    }


def parameter_figures(name: str) -> tuple[str, str]:
    """Return the file names of the figures that `parameter_sections` draws."""
    return f"curves_{name}.png", f"heat_map_{name}.png"
