"""Figure 10, beyond the article: error against parameters, of ways to a small network."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from bregman_nas.report.data import Run, Study
from bregman_nas.report.figures.panels import NAMES
from bregman_nas.report.figures.style import FULL_WIDTH, empty_figure
from bregman_nas.report.table1 import ANSWERS, ARTICLE_UNIT
from bregman_nas.report.table2 import METHODS, Group, groups
from bregman_nas.report.text import quoted

COMPETITORS = ("proximal-adam", "pruned")
#: The colours of Okabe and Ito, and markers for who sees no colours.
LOOKS = {
    "search": ("#0072B2", "o"),
    "found": ("#009E73", "s"),
    "uniform": ("#D55E00", "^"),
    "random": ("#E69F00", "v"),
    "dense": ("#000000", "D"),
    "proximal-adam": ("#CC79A7", "P"),
    "pruned": ("#56B4E9", "*"),
}
#: Answers that need no network, as lines.
ANSWER_STYLES = {
    "input_unchanged": ":",
    "lookup_table": "--",
    "least_squares_relu": "-.",
    "wiener_relu": (0, (1, 1)),
}


def draw(study: Study) -> Figure:
    """A panel for each run with competitors: a point is a seed, a line joins the mu of a method.

    It goes through the geometric means, which are larger. A cross is a network whose outputs are
    all 0.
    """
    found = [group for group in groups(study) if _has_competitors(group)]
    if not found:
        return empty_figure("no other way to a small network has been tried yet")
    figure = Figure(figsize=(FULL_WIDTH, 3.2))
    for axes, group in zip(figure.subplots(1, len(found), squeeze=False).flat, found, strict=True):
        run = study.runs.get(group.of)
        axes.set_title(
            group.of if run is None else f"{NAMES[run.network]}, {run.task}, {quoted(run.protocol)}"
        )
        axes.set_xscale("log")
        axes.set(xlabel="parameters", ylabel=rf"${ARTICLE_UNIT} \times$ mean squared error")
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        for method in METHODS:
            _draw(axes, group, method)
        _draw_answers(axes, run)
    handles = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def _draw_answers(axes: Axes, run: Run | None) -> None:
    """A grey line for each of `ANSWER_STYLES` whose error is not far above those of networks."""
    highest = 2 * axes.dataLim.ymax
    for answer, style in ANSWER_STYLES.items():
        height = np.nan if run is None else ARTICLE_UNIT * run.scores("test", answer)["mse"].mean()
        if height < highest:
            look: dict[str, Any] = {"color": "0.5", "linewidth": 0.9, "linestyle": style}
            axes.axhline(height, label=ANSWERS[answer], zorder=0, **look)


def _has_competitors(group: Group) -> bool:
    return any(
        (line.change or line.method in COMPETITORS) and len(line.networks) for line in group.lines
    )


def _draw(axes: Axes, group: Group, method: str) -> None:
    means, (colour, marker) = [], LOOKS[method]
    name = "AdaBreg, searched" if method == "search" else METHODS[method]
    for line in group.lines:
        if line.method != method:
            continue
        numbers = line.networks[["parameters", "mse", "dead"]].to_numpy(float)
        numbers = numbers[(numbers[:, 0] > 0) & np.isfinite(numbers[:, 1])]
        for dead, of_kind in ((0, marker), (1, "x")):
            x, y, _ = numbers[numbers[:, 2] == dead].T
            axes.plot(x, ARTICLE_UNIT * y, of_kind, color=colour, markersize=3, alpha=0.6)
        if len(numbers):
            means.append(np.exp(np.log(numbers[:, :2]).mean(0)))
    if means:
        x, y = np.array(sorted(means, key=lambda mean: float(mean[0]))).T
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 6}
        axes.plot(x, ARTICLE_UNIT * y, label=name, **look)
