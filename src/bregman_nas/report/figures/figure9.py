"""Figure 9, beyond the article: losses of networks, of the article, and of trivial answers."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bregman_nas.report.data import NETWORKS, PROTOCOLS, TASKS, Study
from bregman_nas.report.figures.panels import NAMES
from bregman_nas.report.figures.style import COLOURS, FULL_WIDTH, empty_figure
from bregman_nas.report.table1 import ANSWERS, ARTICLE, ARTICLE_UNIT
from bregman_nas.report.table2 import METHODS, groups
from bregman_nas.report.text import NOT_RUN, quoted

INPUT = "input_unchanged"
#: Answers that need no network.
TRIVIAL = (
    "zero",
    "mean_image",
    INPUT,
    "rectified_input",
    "threshold",
    "lookup_table",
    "principal_components_100",
    "wiener_relu",
    "least_squares_relu",
)
IN_ARTICLE, NO_NETWORK = "article", "No network"
LINE_HEIGHT = 0.155  # inches


class Line(NamedTuple):
    """One kind of network, or an answer, on a task: `mse` and `dead` of each seed."""

    heading: str
    name: str
    task: str
    networks: pd.DataFrame
    colour: str


def draw(study: Study) -> Figure:
    """A panel for each task, and in it a line for each kind of network or answer.

    A point is a seed, a bar the geometric mean, a cross a network whose outputs are all 0. Of the
    article, the mean and its standard deviation. Grey lines: the input unchanged (dashed), and the
    best answer that needs no network (dotted).
    """
    lines = [*_networks(study), *_trivial(study)]
    if not lines:
        return empty_figure(f"losses: {NOT_RUN}")
    places: dict[tuple[str, str], int] = {}
    for line in lines:
        above = ["", IN_ARTICLE] if line.heading in NAMES.values() else [""]
        for name in (*above, line.name):
            places.setdefault((line.heading, name), len(places))
    figure = Figure(figsize=(FULL_WIDTH, 0.6 + LINE_HEIGHT * len(places)))
    grid = figure.subplots(1, len(TASKS), sharey=True)
    for axes, task in zip(grid, TASKS, strict=True):
        axes.set(title=task.capitalize(), xscale="log")
        of_task = [line for line in lines if line.task == task]
        for line in of_task:
            _draw_line(axes, places[line.heading, line.name], line)
        for network, heading in NAMES.items():
            if (heading, IN_ARTICLE) in places:
                number = ARTICLE[network, task]
                place = places[heading, IN_ARTICLE]
                axes.errorbar(number.mean, place, xerr=number.std, fmt="kD", markersize=3.5)
        trivial = {of.name: of.networks["mse"].mean() for of in of_task if of.heading == NO_NETWORK}
        if trivial:
            for error, style in ((trivial[ANSWERS[INPUT]], "--"), (min(trivial.values()), ":")):
                look: dict[str, Any] = {"linewidth": 0.8, "linestyle": style, "zorder": 0}
                axes.axvline(ARTICLE_UNIT * error, color="0.5", **look)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel(rf"${ARTICLE_UNIT} \times$ mean squared error of the test images")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
    grid[0].set(ylim=(len(places) - 0.5, -0.5))
    grid[0].set_yticks([*places.values()], [name or heading for heading, name in places])
    for label, (_, name) in zip(grid[0].get_yticklabels(), places, strict=True):
        label.set_fontweight("normal" if name else "bold")
    return figure


def _networks(study: Study) -> Iterator[Line]:
    arms = {group.of: group.lines[1:] for group in groups(study)}
    for network in NETWORKS:
        for protocol in PROTOCOLS:
            for task in TASKS:
                run = study.run(protocol, f"{network}-{task}")
                if run is None:
                    continue
                made = {"search": run.frames.networks}
                for arm in arms.get(run.name, []):
                    if not arm.change and len(arm.networks):
                        made[arm.method] = arm.networks
                for method, networks in made.items():
                    name = f"{quoted(protocol)}, {METHODS[method]}"
                    yield Line(NAMES[network], name, task, networks, COLOURS[protocol])


def _trivial(study: Study) -> Iterator[Line]:
    """Both protocols and networks are given the same images: those of the first run."""
    for task in TASKS:
        run = next((run for run in study.restoration if run.task == task), None)
        for answer in TRIVIAL:
            errors = pd.DataFrame() if run is None else run.scores("test", answer)[["mse"]]
            if len(errors):
                yield Line(NO_NETWORK, ANSWERS[answer], task, errors.assign(dead=False), "0.35")


def _draw_line(axes: Axes, place: int, line: Line) -> None:
    errors = ARTICLE_UNIT * line.networks["mse"].to_numpy(float)
    dead = line.networks["dead"].to_numpy(bool)
    for chosen, marker in ((~dead, "o"), (dead, "x")):
        heights = [place] * int(chosen.sum())
        axes.plot(errors[chosen], heights, marker, color=line.colour, markersize=2.5)
    errors = errors[np.isfinite(errors)]
    if len(errors):
        look: dict[str, Any] = {"color": line.colour, "markersize": 9, "markeredgewidth": 1.8}
        axes.plot(np.exp(np.log(errors).mean()), place, "|", **look)
