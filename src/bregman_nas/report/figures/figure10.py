"""Figure 10, beyond the article: error against parameters, of ways to a small network."""

from typing import Any

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
from bregman_nas.report.table2 import METHODS, Group, groups

COMPETITORS = ("proximal-adam", "pruned")


def draw(study: Study) -> Figure:
    """A panel for each run with competitors: a point is a seed, a line joins the mu of a method.

    It goes through the geometric means. A cross is a network whose outputs are all 0.
    """
    found = [group for group in groups(study) if _has_competitors(group)]
    if not found:
        figure = Figure(figsize=(FULL_WIDTH, 0.6))
        leave_empty(figure.subplots(), "no other way to a small network has been tried yet")
        return figure
    figure = Figure(figsize=(FULL_WIDTH, 3.2))
    for axes, group in zip(figure.subplots(1, len(found), squeeze=False).flat, found, strict=True):
        axes.set_title(group.of)
        axes.set_xscale("log")
        axes.set_xlabel("parameters")
        log_errors(axes)
        for method in METHODS:
            _draw(axes, group, method)
        draw_answers(axes, study.runs.get(group.of))
    share_legend(figure)
    return figure


def _has_competitors(group: Group) -> bool:
    return any(
        (line.change or line.method in COMPETITORS) and len(line.networks) for line in group.lines
    )


def _draw(axes: Axes, group: Group, method: str) -> None:
    means, colour = [], METHOD_COLOURS[method]
    for line in group.lines:
        if line.method != method:
            continue
        numbers = line.networks[["parameters", "mse", "dead"]].to_numpy(float)
        numbers = numbers[(numbers[:, 0] > 0) & np.isfinite(numbers[:, 1])]
        for dead, marker in ((0, "o"), (1, "x")):
            x, y, _ = numbers[numbers[:, 2] == dead].T
            axes.plot(x, ARTICLE_UNIT * y, marker, color=colour, markersize=3)
        if len(numbers):
            means.append(np.exp(np.log(numbers[:, :2]).mean(0)))
    if means:
        x, y = np.array(sorted(means, key=lambda mean: float(mean[0]))).T
        name = "AdaBreg, searched" if method == "search" else METHODS[method]
        look: dict[str, Any] = {"color": colour, "marker": "_", "markersize": 9}
        axes.plot(x, ARTICLE_UNIT * y, label=name, **look)
