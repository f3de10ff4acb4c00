"""What decides the architecture: the variance of the widths, and the inked pixels."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from bregman_nas.report.data import DIGIT_ROWS, NETWORKS, PROTOCOLS, TASKS, Study
from bregman_nas.report.figures.panels import add_bar, leave_empty, panels, subplots
from bregman_nas.report.measures import outputs
from bregman_nas.report.text import NOT_RUN, counted
from bregman_nas.report.variance import MEASURES, SEED, TOGETHER, designs, taken_apart

# Of Okabe and Ito. Those of one panel can be told apart in grey, one of them by lines.
LOOKS = {
    "network": {"facecolor": "#000000"},
    "setting": {"facecolor": "#0072B2"},
    "task": {"facecolor": "#E69F00"},
    "threshold": {"facecolor": "#CC79A7"},
    "scale": {"facecolor": "#009E73"},
    TOGETHER: {"facecolor": "#56B4E9", "hatch": "//////"},
    SEED: {"facecolor": "0.87"},
}


def variance(study: Study) -> Figure:
    """A panel for each design that was run, in it the shares of each measure's variance.

    The black line is the 95% interval of the share of the seed, which ends at the right.
    """
    apart = taken_apart(study).dropna(subset="share")
    found = [design for design in designs(study) if design.name in set(apart["design"])]
    figure, grid = subplots(2.7, 1, max(len(found), 1), squeeze=False)
    if not found:
        leave_empty(grid[0, 0], NOT_RUN)
    for axes, design in zip(grid.flat, found, strict=False):
        name = design.name.capitalize().replace(", ", ",\n")
        axes.set_title(f"{name}\n({counted(len(design.seeds), 'seed')} in each cell)")
        _draw_shares(axes, apart[apart["design"] == design.name], design.components)
        axes.tick_params(labelleft=axes is grid[0, 0])
    seen = {component for axes in grid.flat for component in axes.get_legend_handles_labels()[1]}
    handles = [Patch(label=name, **_look(name)) for name in LOOKS if name in seen]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _look(component: str) -> dict[str, Any]:
    return {"edgecolor": "white", "linewidth": 0.5, **LOOKS[component]}


def _draw_shares(axes: Axes, rows: pd.DataFrame, components: list[str]) -> None:
    table = rows.pivot(index="measure", columns="component").reindex(list(MEASURES.values()))
    places, left = np.arange(len(table)), np.zeros(len(table))
    for component in components:
        width = table["share", component].to_numpy(float)
        axes.barh(places, width, left=left, height=0.72, label=component, **_look(component))
        left += width
    axes.hlines(places, 1 - table["high", SEED], 1 - table["low", SEED], color="black", lw=0.9)
    axes.set(xlim=(0, 1), xticks=np.linspace(0, 1, 5), ylim=(len(table) - 0.5, -0.5))
    axes.set_yticks(places, table.index)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def output_rows(study: Study) -> Figure:
    """Left how often each pixel is inked, and which ever is; right its output row.

    There: in which share of the seeds it is active, and how well the frequency predicts that.
    """
    figure, grid = subplots(2.9, len(PROTOCOLS), 1 + len(NETWORKS) * len(TASKS))
    often = study.frequencies
    areas = {run.name: found["area"].mean for run, found in outputs(study)}
    grid[0, 0].set_title("how often\na pixel is inked", fontsize=7)
    grid[1, 0].set_title("which pixels\nare ever inked", fontsize=7)
    shown = {} if often is None else {grid[0, 0]: often, grid[1, 0]: often > 0}
    for axes, run in panels(grid[:, 1:], study, NETWORKS, "\n"):
        shown[axes] = run.output.mean(0)
        if run.name in areas:
            axes.set_xlabel(f"AUC {areas[run.name]:.3f}")
    for axes, values in shown.items():
        square = np.asarray(values, float).reshape(DIGIT_ROWS, -1)
        picture = axes.imshow(square, cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
    if often is None:
        for axes in grid[:, 0]:
            leave_empty(axes, "not counted")
    if shown:
        label = "share of the training images, or of the seeds"
        add_bar(picture, figure, grid, label, shrink=0.5)
    return figure
