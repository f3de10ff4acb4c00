"""Figure 8, beyond the article: the first steps of the DenseNets, in which they grow or die."""

from collections import Counter
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bregman_nas.report.data import DENSENET, PROTOCOLS, Study
from bregman_nas.report.figures.style import COLOURS, FULL_WIDTH, leave_empty
from bregman_nas.report.first_steps import FATES, GREW, Start, starts
from bregman_nas.report.text import quoted

ROW_HEIGHT = 2.0  # inches
DEAD = "0.35"
# Shares below this one, a pixel or two of the margin, are on a linear scale down to 0.
LINEAR_BELOW = 0.01


def draw(study: Study) -> Figure:
    """Left how much of the last convolution fires, right how close a kernel is to switching on.

    A line is a seed, and ends where its network died (a cross) or its first kernel switched on (a
    dot). Upper panels: the protocol's logits; lower panels: the other choice of row 21.
    """
    rows = [
        (protocol, relu, of_seeds)
        for protocol in PROTOCOLS
        if (run := study.run(protocol, DENSENET)) is not None
        for relu, of_seeds in starts(run).items()
    ]
    if not rows:
        figure = Figure(figsize=(FULL_WIDTH, 0.6))
        leave_empty(figure.subplots(), "first steps of the DenseNet: not looked at")
        return figure
    figure = Figure(figsize=(FULL_WIDTH, 0.3 + ROW_HEIGHT * len(rows)))
    grid = figure.subplots(len(rows), 2, squeeze=False, sharex="col")
    for (left, right), (protocol, relu, of_seeds) in zip(grid, rows, strict=True):
        logits = "ReLU on the logits" if relu else "no ReLU on the logits"
        left.set_title(f"{quoted(protocol)}, {logits}")
        right.set_title(_in_words(of_seeds))
        for axes, column in ((left, "firing"), (right, "furthest")):
            _draw(axes, of_seeds, column, COLOURS[protocol])
            axes.grid(axis="y")
        _name_seeds(right, of_seeds, COLOURS[protocol])
        left.set_yscale("symlog", linthresh=LINEAR_BELOW)
        left.set_yticks([0, 0.01, 0.1, 1], ["0", "1%", "10%", "100%"])
        left.set(ylim=(-0.001, 1.3), ylabel="outputs of the last\nconvolution that are not 0")
        left.minorticks_off()
        right.axhline(1, color="0.6", linewidth=0.8, linestyle="--")
        right.set(ylim=(0, 1.12), yticks=[0, 0.25, 0.5, 0.75, 1])
        right.set_ylabel("furthest kernel that is off:\nnorm of v / threshold")
    for axes in grid[-1]:
        axes.set_xlabel("steps")
    grid[0, 1].legend(handles=_legend(rows[0][0]), loc="lower right")
    return figure


def _draw(axes: Axes, of_seeds: list[Start], column: str, colour: str) -> None:
    for start in of_seeds:
        rows = start.until_decided
        steps, values = (np.array(rows[name], dtype=float) for name in ("step", column))
        if column == "furthest" and start.fate == GREW:
            values[-1] = 1  # what the table has there is of the kernel that is now the furthest
        axes.plot(steps, values, **_look_of(start, colour), markevery=[-1], clip_on=False)


def _name_seeds(axes: Axes, of_seeds: list[Start], colour: str) -> None:
    """Write the numbers of the seeds where their lines end, above those that grow."""
    ends: dict[tuple[float, float], list[Start]] = {}
    for start in of_seeds:
        last = start.until_decided.iloc[-1]
        height = 1.0 if start.fate == GREW else float(last["furthest"])
        ends.setdefault((float(last["step"]), height), []).append(start)
    for (step, height), those in ends.items():
        below = 0 < height < 1
        axes.annotate(
            ", ".join(str(start.seed) for start in those),
            (step, height),
            xytext=(4, -4 if below else 2),
            textcoords="offset points",
            va="top" if below else "bottom",
            fontsize=6.5,
            color=_look_of(those[0], colour)["color"],
        )


def _look_of(start: Start, colour: str) -> dict[str, Any]:
    dead = start.dead_before_growth
    marker = "x" if dead else "o" if start.fate == GREW else ""
    return {"color": DEAD if dead else colour, "marker": marker, "markersize": 4, "linewidth": 0.9}


def _in_words(of_seeds: list[Start]) -> str:
    counts = Counter(start.fate for start in of_seeds)
    return ", ".join(f"{counts[fate]} {fate}" for fate in FATES if counts[fate])


def _legend(protocol: str) -> list[Line2D]:
    line: dict[str, Any] = {"markersize": 4, "linewidth": 0.9}
    return [
        Line2D([], [], color=DEAD, marker="x", label="dead from here on", **line),
        Line2D([], [], color=COLOURS[protocol], marker="o", label="a kernel switches on", **line),
    ]
