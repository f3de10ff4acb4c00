"""Panels that more than one figure has."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bregman_nas.report.data import PIXELS, PROTOCOLS, TASKS, Run, Study, why_empty
from bregman_nas.report.figures.style import COLOURS, leave_empty
from bregman_nas.report.text import counted, quoted

NAMES = {"autoencoder": "Autoencoder", "residual": "Residual autoencoder"}
#: Lines of the numbers of rows: how they are called, and drawn.
KINDS = {"active": ("active rows", "-"), "living": ("living rows", "--")}


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


def rows_axis(axes: Axes, most: float = PIXELS) -> None:
    """An axis for numbers of rows, with ticks at the quarters of all that there are."""
    axes.set(ylim=(0, 1.04 * most), yticks=np.linspace(0, most, 5, dtype=int))
    axes.grid(True, axis="y")


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
    # Not random: the same bytes each time, and a seed can be followed from box to box.
    places = np.linspace(-0.22, 0.22, len(found)) if len(found) > 1 else [0.0]
    for place, widths in zip(places, found, strict=True):
        axes.plot(layers + place, widths, ".", color="black", markersize=3, mew=0, zorder=4)
    axes.plot([-0.31, 0.31], [PIXELS, PIXELS], color="0.55", linewidth=1.6)
    rows_axis(axes)
    names = ["0 (input)", *map(str, layers[:-1]), f"{run.depth} (output)"]
    axes.set_xticks([0, *layers], names)
    axes.set(xlim=(-0.5, run.depth + 0.5), xlabel="layer", ylabel="width (active rows)")


def draw_rows(axes: Axes, run: Run, colour: str, layer: int | None = None) -> None:
    """Active and living rows at the end of each epoch, of one layer or, by default, of all.

    Lines are medians over the seeds, bands reach from the lowest to the highest seed.
    """
    frame = run.frames.layers
    chosen = frame["seed"].isin(run.converged) & frame["kind"].isin([*KINDS])
    if layer is not None:
        chosen &= frame["layer"] == layer
    sums = frame[chosen].groupby(["kind", "epoch", "seed"])["rows"].sum()
    spread = sums.groupby(["kind", "epoch"]).agg(["median", "min", "max"])
    for kind, (_, style) in KINDS.items():
        of = spread.loc[kind]
        axes.fill_between(of.index, of["min"], of["max"], color=colour, alpha=0.2, linewidth=0)
        axes.plot(of.index, of["median"], color=colour, linestyle=style)
    axes.xaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10], integer=True))
    rows_axis(axes, PIXELS * (run.depth if layer is None else 1))
