"""Figure 9, beyond the article: the networks found beside others of the same size, seed by seed."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bregman_nas.report.data import Study
from bregman_nas.report.figures.panels import (
    METHOD_COLOURS,
    draw_answers,
    log_errors,
    share_legend,
)
from bregman_nas.report.figures.style import FULL_WIDTH, leave_empty
from bregman_nas.report.table1 import ARTICLE_UNIT
from bregman_nas.report.table2 import Group, groups

ARMS = ("search", "found", "uniform", "random", "dense")
NOTHING = "no architecture has been trained anew yet"
ROW_HEIGHT = 2.3  # inches


def draw(study: Study) -> Figure:
    """A panel for each run: a grey line is a seed, a bar the geometric mean of a method.

    A cross is a network whose outputs are all 0.
    """
    found = groups(study)
    if not any(_shown(group)[1:] for group in found):
        figure = Figure(figsize=(FULL_WIDTH, 0.6))
        leave_empty(figure.subplots(), NOTHING)
        return figure
    height = ROW_HEIGHT * -(-len(found) // 2) + 0.4
    figure = Figure(figsize=(FULL_WIDTH, height))
    panels = figure.subplots(-(-len(found) // 2), 2, squeeze=False).flat
    for axes in panels[len(found) :]:
        axes.set_axis_off()
    for axes, group in zip(panels, found, strict=False):
        axes.set_title(group.of)
        if not _shown(group)[1:]:
            leave_empty(axes, NOTHING)
            continue
        _draw(axes, group)
        draw_answers(axes, study.runs.get(group.of))
    share_legend(figure)
    return figure


def _shown(group: Group) -> list[str]:
    """The methods that are there."""
    there = {line.method for line in group.lines if not line.change and len(line.networks)}
    return [method for method in ARMS if method in there]


def _draw(axes: Axes, group: Group) -> None:
    log_errors(axes)
    methods = _shown(group)
    lines = {line.method: line for line in group.lines if not line.change}
    errors = {m: lines[m].networks.set_index("seed")["mse"] * ARTICLE_UNIT for m in methods}
    for seed in sorted({seed for of_method in errors.values() for seed in of_method.index}):
        of_seed = [errors[method].get(seed, np.nan) for method in methods]
        axes.plot(range(len(methods)), of_seed, color="0.75", linewidth=0.6)
    for place, method in enumerate(methods):
        networks, colour = lines[method].networks, METHOD_COLOURS[method]
        dead = networks["dead"].astype(bool).to_numpy()
        heights = errors[method].to_numpy(float)
        for chosen, marker in ((~dead, "o"), (dead, "x")):
            axes.plot(
                [place] * int(chosen.sum()), heights[chosen], marker, color=colour, markersize=3
            )
        heights = heights[np.isfinite(heights)]
        if len(heights):
            mean = float(np.exp(np.log(heights).mean()))
            axes.plot([place - 0.3, place + 0.3], [mean, mean], color=colour, linewidth=2)
    names = [f"{method} ({len(lines[method].networks)})" for method in methods]
    axes.set_xticks(range(len(methods)), names)
    axes.set_xlim(-0.5, len(methods) - 0.5)
