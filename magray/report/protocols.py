"""Write the page of a comparison of protocols: estimators trained on films of one protocol, tested on films of all."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure

from magray.report.curves import draw_curve, line_style, log_errors
from magray.report.figures import INK, STYLE, save, style_axes
from magray.report.html import write_page
from magray.report.labels import in_file_name, quantity
from magray.report.scores import of_parameter, parameter_of
from magray.report.tables import mean_errors_table, protocols_table


def write_protocols(folder: Path, study: pa.Table) -> Path:
    """Write protocols.html and its figures into a folder; return the page's path. study: PROTOCOLS."""
    parameters = []
    for name in pc.unique(study["parameter"]).to_pylist():
        rows, picture = of_parameter(study, name), f"protocols_{in_file_name(name)}.png"
        _draw_protocols(rows, folder / picture)
        tables = {"means": mean_errors_table(rows), "scores": protocols_table(rows)}
        parameters.append({"quantity": quantity(name), "picture": picture} | tables)
    write_page("protocols.html", folder / "protocols.html", parameters=parameters)
    return folder / "protocols.html"


def _draw_protocols(study: pa.Table, path: Path) -> None:
    """Draw the MAE over test scales: a panel for each project's films, with a curve for each project's estimators.

    study: PROTOCOLS of one parameter.
    """
    names = pc.unique(study["test_project"]).to_pylist()
    drawing = Figure(figsize=(5.4, 0.8 + 2.4 * len(names)), layout="constrained")
    panels = drawing.subplots(len(names), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    shown = quantity(parameter_of(study))
    for axes, tested in zip(panels, names, strict=True):
        for place, trained in enumerate(names):
            wanted = (pc.field("test_project") == tested) & (pc.field("train_project") == trained)
            rows = study.filter(wanted)
            (train_set,) = pc.unique(rows["train_set"]).to_pylist()
            draw_curve(axes, rows, train_set, line_style(trained, place), shown, label=trained)
        axes.set_title(f"on films of {tested}", loc="left", **STYLE)
        axes.set_ylabel(f"MAE of {shown.label}", **STYLE)
        log_errors(axes)
        style_axes(axes)
    panels[-1].set_xlabel("test scale (µm)", **STYLE)
    above: dict[str, Any] = {"loc": "outside upper left", "alignment": "left"}
    handles, labels = panels[0].get_legend_handles_labels()
    drawing.legend(
        handles, labels, **above, frameon=False, fontsize=9, labelcolor=INK, title="trained on", title_fontsize=9
    )
    save(drawing, path)
