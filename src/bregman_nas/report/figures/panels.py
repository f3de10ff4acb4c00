"""Panels that more than one figure has."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes

from bregman_nas.report.data import PIXELS, PROTOCOLS, TASKS, Run, Study, why_empty
from bregman_nas.report.figures.style import COLOURS, leave_empty
from bregman_nas.report.text import counted, quoted


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
