"""What decides the architecture: the variance of the widths, and the inked pixels."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from bregman_nas.report.data import DIGIT_ROWS, NETWORKS, TASKS, Study
from bregman_nas.report.figures.panels import COLOURS, empty_figure, name_of, subplots
from bregman_nas.report.text import NOT_RUN, counted
from bregman_nas.report.variance import INTERACTION, MEASURES, SEED, designs, taken_apart

#: Between pixels of similar frequency; the first are never inked.
EDGES = [1e-9, 1e-4, *np.geomspace(3e-4, 0.3, 10)]
STYLES = dict(zip(product(NETWORKS, TASKS), ("o-", "s--", "^-.", "D:"), strict=True))
# Of Okabe and Ito. Those of one panel can be told apart in grey, one of them by lines.
FACES = {"network": "#000000", "setting": "#0072B2", "task": "#E69F00", "threshold": "#CC79A7"}
FACES |= {"scale": "#009E73", INTERACTION: "#56B4E9", SEED: "0.87"}
LOOKS: dict[str, dict[str, Any]] = {
    name: {"edgecolor": "white", "linewidth": 0.5, "facecolor": face}
    for name, face in FACES.items()
}
LOOKS[INTERACTION]["hatch"] = "//////"


def variance(study: Study) -> Figure:
    """A panel for each design that was run, in it the shares of each measure's variance.

    The black line is the 95% interval of the share of the seed, which ends at the right.
    """
    apart = taken_apart(study).dropna(subset="share")
    found = [design for design in designs(study) if design.name in set(apart["design"])]
    if not found:
        return empty_figure(NOT_RUN)
    figure, grid = subplots(2.45, 1, len(found), squeeze=False)
    for axes, design in zip(grid.flat, found, strict=True):
        name = design.name.capitalize().replace(", ", ",\n")
        axes.set_title(f"{name}\n({counted(len(design.seeds), 'seed')} in each cell)")
        _draw_shares(axes, apart[apart["design"] == design.name], design.components)
        axes.tick_params(labelleft=axes is grid[0, 0])
    seen = {component for axes in grid.flat for component in axes.get_legend_handles_labels()[1]}
    handles = [Patch(label=name, **LOOKS[name]) for name in LOOKS if name in seen]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _draw_shares(axes: Axes, rows: pd.DataFrame, components: list[str]) -> None:
    table = rows.pivot(index="measure", columns="component").reindex(list(MEASURES.values()))
    places, left = np.arange(len(table)), np.zeros(len(table))
    for component in components:
        width = table["share", component].to_numpy(float)
        axes.barh(places, width, left=left, height=0.72, label=component, **LOOKS[component])
        left += width
    axes.hlines(places, 1 - table["high", SEED], 1 - table["low", SEED], color="black", lw=0.9)
    axes.set(xlim=(0, 1), xticks=np.linspace(0, 1, 3), ylim=(len(table) - 0.5, -0.5))
    axes.set_yticks(places, table.index)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def output_rows(study: Study) -> Figure:
    """How often each pixel is inked, in which share of all searches its output row is active.

    Right the one against the other, a line a run: the means of pixels of similar frequency.
    """
    often, runs = study.frequencies, [run for run in study.restoration if run.converged]
    if often is None or not runs:
        return empty_figure("not counted" if often is None else NOT_RUN)
    figure, (inked, active, curves) = subplots(1.75, 1, 3, width_ratios=[1, 1, 1.9])
    mean = np.concatenate([run.output for run in runs]).mean(0)
    shown = {"pixel inked": (inked, often), "output row active": (active, mean)}
    for title, (axes, values) in shown.items():
        picture = axes.imshow(values.reshape(DIGIT_ROWS, -1), cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=7)
        axes.spines[:].set_visible(True)
    label = "share of the images, of the searches"
    figure.colorbar(picture, ax=[inked, active], label=label, location="bottom", aspect=30)
    bins = np.digitize(often, EDGES)
    kinds = np.unique(bins)
    x = [often[bins == kind].mean() for kind in kinds]
    for run in runs:
        y = [run.output[:, bins == kind].mean() for kind in kinds]
        style = STYLES[run.network, run.task]
        name = name_of(run.protocol, run.row.experiment)
        curves.plot(x, y, style, color=COLOURS[run.protocol], lw=1, ms=3, alpha=0.8, label=name)
    curves.set_xscale("symlog", linthresh=EDGES[1])
    curves.set(xlabel="how often a pixel is inked", ylabel="output rows active", ylim=(-0.03, 1.03))
    curves.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    curves.yaxis.set_major_formatter(PercentFormatter(1))
    curves.legend(fontsize=6, loc="center left", bbox_to_anchor=(1.02, 0.5))
    return figure
