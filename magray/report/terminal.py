"""Draw the tables of studies on a terminal."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from rich import box
from rich.table import Table

from magray.evaluation.study import STUDY
from magray.files.atomic import read_table
from magray.report.labels import Quantity, quantity
from magray.report.scores import of_parameter
from magray.report.tables import mean_errors_table


def tolerance_tables(study: Path) -> list[Table]:
    """Return the scores of study.parquet, one table for each parameter; untrained scales are yellow."""
    tables: dict[str, Table] = {}
    before = ""
    for row in read_table(study, STUDY).to_pylist():
        shown = quantity(row["parameter"])
        table = tables.setdefault(shown.name, _score_table(shown))
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


def protocol_tables(study: pa.Table) -> list[Table]:
    """Return the MAE at trained scales, one table for each parameter. study: PROTOCOLS."""
    tables = []
    for name in pc.unique(study["parameter"]).to_pylist():
        means = mean_errors_table(of_parameter(study, name))
        table = _table(f"Mean error of {quantity(name).label} at trained scales")
        for place, head in enumerate(means.heads):
            table.add_column(head, justify="right" if place else "left", no_wrap=not place)
        for row in means.rows:
            table.add_row(*(cell.text for cell in row))
        tables.append(table)
    return tables


def _score_table(shown: Quantity) -> Table:
    table = _table(f"Errors of {shown.label} on test films")
    table.add_column("trained at, µm", no_wrap=True)
    table.add_column("tested at", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for heading in ("R²", "MAE", "bias", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", pad_edge=False, box=box.SIMPLE_HEAD)
