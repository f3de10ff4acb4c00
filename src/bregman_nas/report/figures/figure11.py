"""Figure 11, beyond the article: the variance of the widths, taken apart."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from bregman_nas.report.data import Study
from bregman_nas.report.figures.style import FULL_WIDTH, leave_empty
from bregman_nas.report.text import NOT_RUN, counted
from bregman_nas.report.variance import MEASURES, SEED, TOGETHER, Design, designs, taken_apart

COLUMNS = 2
ROW_HEIGHT = 2  # inches
# Of Okabe and Ito. Those of one panel can be told apart in grey, one of them by lines.
LOOKS: dict[str, dict[str, Any]] = {
    "network": {"facecolor": "#000000"},
    "setting": {"facecolor": "#0072B2"},
    "task": {"facecolor": "#E69F00"},
    "threshold": {"facecolor": "#CC79A7"},
    "scale": {"facecolor": "#009E73"},
    TOGETHER: {"facecolor": "#56B4E9", "hatch": "//////"},
    SEED: {"facecolor": "0.87"},
}


def draw(study: Study) -> Figure:
    """A panel for each design, a bar for each measure: the shares of factors and seed, from left.

    The black line is the 95% interval of the share of the seed, which ends at the right.
    """
    apart, found = taken_apart(study), designs(study)
    lines = -(-len(found) // COLUMNS)
    figure = Figure(figsize=(FULL_WIDTH, ROW_HEIGHT * lines + 0.3))
    grid = figure.subplots(lines, COLUMNS, squeeze=False)
    for place, (axes, design) in enumerate(zip(grid.flat, found, strict=True)):
        rows = apart[apart["design"] == design.name].dropna(subset="share")
        axes.set_title(_title(design))
        if rows.empty:
            leave_empty(axes, "too few seeds" if design.seeds else NOT_RUN)
            continue
        _draw_shares(axes, rows, design)
        if place % COLUMNS and grid.flat[place - 1].has_data():
            axes.tick_params(labelleft=False)
    seen = {component for axes in grid.flat for component in axes.get_legend_handles_labels()[1]}
    handles = [Patch(label=name, **_look(name)) for name in LOOKS if name in seen]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _title(design: Design) -> str:
    seeds = f"\n({counted(len(design.seeds), 'seed')} in each cell)" if design.seeds else ""
    return f"{design.name.capitalize()}{seeds}"


def _look(component: str) -> dict[str, Any]:
    return {"edgecolor": "white", "linewidth": 0.5, **LOOKS[component]}


def _draw_shares(axes: Axes, rows: pd.DataFrame, design: Design) -> None:
    shares = rows.pivot(index="measure", columns="component", values="share")
    names = [name for name in MEASURES if name in shares.index]
    places, left = np.arange(len(names)), np.zeros(len(names))
    for component in design.components:
        width = shares.loc[names, component].to_numpy(float)
        axes.barh(places, width, left=left, height=0.72, label=component, **_look(component))
        left += width
    seed = rows[rows["component"] == SEED].set_index("measure").loc[names]
    first, last = (1 - seed[end].to_numpy(float) for end in ("high", "low"))
    axes.hlines(places, first, last, color="black", linewidth=0.9)
    axes.set(xlim=(0, 1), xticks=np.linspace(0, 1, 5), ylim=(len(names) - 0.5, -0.5))
    axes.set_yticks(places, names)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
