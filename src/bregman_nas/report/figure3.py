"""Figure 3: layer widths and skips of the residual autoencoders."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from bregman_nas.report.panels import by_protocol_and_task, draw_widths, title
from bregman_nas.report.read import PROTOCOLS, TASKS, Array, Run, skip_names, skips, why_empty
from bregman_nas.report.style import (
    FULL_WIDTH,
    add_skip_scale,
    leave_empty,
    show_matrix,
    signed,
    text_colour,
)


def draw(project: Path) -> Figure:
    """Under the box plots of each run the mean over the seeds of each skip tau(l, i).

    Rows: into layer l + 1. Columns: from x(i). All matrices share one scale.
    """
    figure = Figure(figsize=(FULL_WIDTH, 6.2))
    grid = figure.subplots(
        2 * len(PROTOCOLS), len(TASKS), gridspec_kw={"height_ratios": [1, 1.15] * len(PROTOCOLS)}
    )
    runs = list(by_protocol_and_task(project, "residual"))
    means = [_mean_skips(run) for _, _, run in runs]
    scale = add_skip_scale(
        figure,
        grid,
        (mean for mean in means if mean is not None),
        r"mean over the seeds of the skip $\tau^{(l,i)}$",
    )
    box_panels, matrix_panels = grid[0::2].flat, grid[1::2].flat
    for boxes, matrix, (protocol, task, run), mean in zip(
        box_panels, matrix_panels, runs, means, strict=True
    ):
        boxes.set_title(title(protocol, task, run))
        draw_widths(boxes, run, protocol)
        if mean is None:
            leave_empty(matrix, why_empty(run) or "")
        else:
            _draw_matrix(matrix, mean, scale)
    return figure


def _mean_skips(run: Run | None) -> Array | None:
    if run is None or run.converged.empty:
        return None
    mean: Array = skips(run.converged).mean(0)
    return mean


def _draw_matrix(axes: Axes, mean: Array, scale: ScalarMappable) -> None:
    layers = len(mean)
    show_matrix(axes, mean, scale)
    for l, i in skip_names(layers):
        value = float(mean[l, i])
        colour = text_colour(scale, value)
        axes.text(i, l, signed(value), ha="center", va="center", color=colour, fontsize=7)
        edges = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]) - 0.5 + (i, l)
        axes.plot(*edges.T, color="0.7", linewidth=0.5)
    sources = ["0 (input)", *(str(i) for i in range(1, layers))]
    targets = [*(str(l) for l in range(1, layers)), f"{layers} (output)"]
    axes.set_xticks(range(layers), sources)
    axes.set_yticks(range(layers), targets)
    axes.set(xlabel="skip from layer $i$", ylabel="skip into layer $l+1$")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
