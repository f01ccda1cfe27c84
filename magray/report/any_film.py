"""Draw the calibration of the estimator for any film."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from magray.report.figures import COLOURS, FAINT, STYLE, save, style_axes

SPREADS = 2.576  # standard deviations of a count that hold 99 % of those of a uniform distribution


def draw_ranks(ranks: Mapping[str, Mapping[str, Sequence[int]]], path: Path) -> None:
    """Draw histograms of the ranks of the truth among posterior draws, one row a set of pictures, one column a number.

    A calibrated posterior has uniform ranks (Talts et al., Validating Bayesian Inference Algorithms with
    Simulation-Based Calibration, 2018); the band holds 99 % of the counts of such.
    """
    columns = list(next(iter(ranks.values())))
    drawing = Figure(figsize=(2.6 * len(columns), 1.9 * len(ranks)), layout="constrained")
    grid = drawing.subplots(len(ranks), len(columns), sharex=True, squeeze=False)
    for row, (title, counts) in zip(grid, ranks.items(), strict=True):
        for axes, column in zip(row, columns, strict=True):
            shares = np.array(counts[column]) / np.mean(counts[column])
            band = SPREADS / np.sqrt(np.mean(counts[column]))
            axes.axhspan(1 - band, 1 + band, color=FAINT, alpha=0.4, linewidth=0)
            axes.stairs(shares, np.linspace(0, 1, len(shares) + 1), color=COLOURS[0], linewidth=1.4)
            axes.set_ylim(0, 2)
            axes.set_title(f"{column}\n{title}", **{**STYLE, "fontsize": 8})
            style_axes(axes)
    for axes in grid[-1]:
        axes.set_xlabel("rank of the truth", **STYLE)
    save(drawing, path)
