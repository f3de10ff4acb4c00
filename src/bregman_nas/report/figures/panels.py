"""Panels that more than one figure has."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from bregman_nas.report.data import PIXELS, PROTOCOLS, TASKS, Run, Study, why_empty
from bregman_nas.report.figures.style import COLOURS, leave_empty
from bregman_nas.report.table1 import ANSWERS, ARTICLE_UNIT
from bregman_nas.report.text import counted, quoted

#: The colours of Okabe and Ito, by method.
METHOD_COLOURS = {
    "search": "#0072B2",
    "found": "#009E73",
    "uniform": "#D55E00",
    "random": "#E69F00",
    "dense": "#000000",
    "proximal-adam": "#CC79A7",
    "pruned": "#56B4E9",
}
#: Answers that need no network and are drawn beside networks, as lines.
DRAWN_ANSWERS = {
    "input_unchanged": ":",
    "lookup_table": "--",
    "least_squares_relu": "-.",
    "wiener_relu": (0, (1, 1)),
}


def by_protocol_and_task(study: Study, network: str) -> Iterator[tuple[str, str, Run | None]]:
    """The runs of a network in the order of the panels: a row a protocol, a column a task."""
    return ((p, t, study.run(p, f"{network}-{t}")) for p in PROTOCOLS for t in TASKS)


def seeds_in_words(run: Run) -> str:
    """How many seeds a figure shows, and how many it leaves out because they diverged."""
    words = counted(len(run.converged), "seed")
    return f"{words} + {run.diverged} diverged" if run.diverged else words


def title(protocol: str, task: str, run: Run | None) -> str:
    """Task, protocol and the number of seeds shown."""
    words = f"{task.capitalize()}, {quoted(protocol)}"
    return words if run is None else f"{words} ({seeds_in_words(run)})"


def draw_widths(axes: Axes, run: Run | None, protocol: str) -> None:
    """Box plots of the layer widths over the converged seeds, and each seed as a point.

    The points of one seed stand at the same place beside each box. The input layer, 784, is
    added by hand; it is grey.
    """
    reason = why_empty(run)
    if run is None or reason is not None:
        leave_empty(axes, reason or "")
        return
    found = run.rows()
    layers = np.arange(1, run.depth + 1)
    seaborn.boxplot(
        pd.DataFrame(found, columns=layers).melt(var_name="layer", value_name="width"),
        x="layer",
        y="width",
        ax=axes,
        native_scale=True,
        width=0.62,
        showfliers=False,
        color=COLOURS[protocol],
        linecolor=COLOURS[protocol],
        linewidth=0.9,
        boxprops={"facecolor": f"{COLOURS[protocol]}30"},
        medianprops={"linewidth": 1.6},
    )
    for place, widths in zip(_spread(len(found)), found, strict=True):
        axes.plot(layers + place, widths, ".", color="black", markersize=3, mew=0, zorder=4)
    axes.plot([-0.31, 0.31], [PIXELS, PIXELS], color="0.55", linewidth=1.6)
    names = ["0 (input)", *(str(layer) for layer in layers)]
    names[-1] += " (output)"
    axes.set(ylim=(0, 1.04 * PIXELS), yticks=range(0, PIXELS + 1, 196))
    axes.set_xticks([0, *layers], names)
    axes.set(xlim=(-0.5, len(layers) + 0.5), xlabel="layer", ylabel="width (active rows)")
    axes.grid(axis="y")


def _spread(seeds: int) -> list[float]:
    # Not random: the same bytes each time, and a seed can be followed from box to box.
    return [0.0] if seeds == 1 else list(np.linspace(-0.22, 0.22, seeds))


def draw_answers(axes: Axes, run: Run | None) -> None:
    """A grey line for each of `DRAWN_ANSWERS` at its error, if it is not far above all networks."""
    highest = 3 * axes.dataLim.ymax
    for answer, style in DRAWN_ANSWERS.items():
        errors = pd.Series(dtype=float) if run is None else run.scores("test", answer)["mse"]
        height = ARTICLE_UNIT * errors.mean()
        if height < highest:
            look: dict[str, Any] = {"color": "0.5", "linewidth": 0.9, "linestyle": style}
            axes.axhline(height, label=ANSWERS[answer], zorder=0, **look)


def log_errors(axes: Axes) -> None:
    """A logarithmic axis of errors, with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(rf"${ARTICLE_UNIT} \times$ mean squared error")


def share_legend(figure: Figure) -> None:
    """One legend for all panels, below them."""
    handles = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
