"""Figure 3: layer widths and skips of the residual autoencoders."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from bregman_nas.report.data import PROTOCOLS, TASKS, Array, Study, why_empty
from bregman_nas.report.figures.panels import by_protocol_and_task, draw_widths, title
from bregman_nas.report.figures.style import (
    FULL_WIDTH,
    add_skip_scale,
    leave_empty,
    show_matrix,
    signed,
    text_colour,
)
from bregman_nas.report.frames import skip_names


def draw(study: Study) -> Figure:
    """Under the box plots of each run the mean over the seeds of each skip tau(l, i).

    In brackets stands the standard deviation (n - 1), if there is more than one seed, and unless
    the skip is zero in all of them. Rows: into layer l + 1. Columns: from x(i). All matrices share
    one scale.
    """
    figure = Figure(figsize=(FULL_WIDTH, 6.9))
    grid = figure.subplots(
        2 * len(PROTOCOLS), len(TASKS), gridspec_kw={"height_ratios": [1, 1.5] * len(PROTOCOLS)}
    )
    runs = list(by_protocol_and_task(study, "residual"))
    found = [None if run is None or why_empty(run) else run.tau() for _, _, run in runs]
    scale = add_skip_scale(
        figure,
        grid,
        (tau.mean(0) for tau in found if tau is not None),
        r"mean over the seeds of the skip $\tau^{(l,i)}$",
    )
    panels = zip(grid[0::2].flat, grid[1::2].flat, runs, found, strict=True)
    for boxes, matrix, (protocol, task, run), tau in panels:
        boxes.set_title(title(protocol, task, run))
        draw_widths(boxes, run, protocol)
        if tau is None:
            leave_empty(matrix, why_empty(run) or "")
        else:
            _draw_matrix(matrix, tau, scale)
    return figure


def cell(of_seeds: Array) -> str:
    """Mean and, on a second line, standard deviation of a skip over the seeds."""
    mean = signed(float(of_seeds.mean()))
    if len(of_seeds) == 1 or not of_seeds.any():
        return mean
    return f"{mean}\n({of_seeds.std(ddof=1):.2f})"


def _draw_matrix(axes: Axes, tau: Array, scale: ScalarMappable) -> None:
    mean = tau.mean(0)
    layers = len(mean)
    show_matrix(axes, mean, scale)
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 6.5, "linespacing": 1}
    for l, i in skip_names(layers):
        axes.text(i, l, cell(tau[:, l, i]), color=text_colour(scale, mean[l, i]), **look)
        edges = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]) - 0.5 + (i, l)
        axes.plot(*edges.T, color="0.7", linewidth=0.5)
    axes.set_xticks(range(layers), ["0 (input)", *map(str, range(1, layers))])
    axes.set_yticks(range(layers), [*map(str, range(1, layers)), f"{layers} (output)"])
    axes.set(xlabel="skip from layer $i$", ylabel="skip into layer $l+1$")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
