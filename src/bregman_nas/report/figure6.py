"""Figure 6, beyond the article: the skips over the epochs, and when each switches on."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from bregman_nas.report.panels import by_protocol_and_task, title
from bregman_nas.report.read import PROTOCOLS, TASKS, Run, depth, skip_names, why_empty
from bregman_nas.report.style import FULL_WIDTH, add_skip_scale, leave_empty, show_matrix


def draw(project: Path) -> Figure:
    """For each residual run a row for each skip: its median over the seeds in each epoch.

    A tick marks the median over the seeds of the first epoch at whose end the skip is not zero;
    beside the row stand that median and its range, over those seeds in which there is one.
    """
    figure = Figure(figsize=(FULL_WIDTH, 5.8))
    grid = figure.subplots(len(PROTOCOLS), len(TASKS))
    runs = list(by_protocol_and_task(project, "residual"))
    medians = [None if why_empty(run) or run is None else _median_skips(run) for _, _, run in runs]
    scale = add_skip_scale(
        figure,
        grid,
        (median.to_numpy() for median in medians if median is not None),
        r"median over the seeds of the skip $\tau^{(l,i)}$",
    )
    for axes, (protocol, task, run), median in zip(grid.flat, runs, medians, strict=True):
        axes.set_title(title(protocol, task, run))
        if run is None or median is None:
            leave_empty(axes, why_empty(run) or "")
        else:
            _draw_skips(axes, run, median, scale)
    return figure


def first_active_epochs(history: pd.DataFrame, column: str) -> pd.Series:
    """For each seed the first epoch in which a column is not zero, NaN if there is none.

    Args:
        history: `history.csv`: `seed`, `epoch`, the column; one row for each seed and epoch.
        column: the name of the column, such as `skip_5_0`.
    """
    active = history["epoch"].where(history[column] != 0)
    first: pd.Series = active.groupby(history["seed"]).min()
    return first


def first_active_in_words(first: pd.Series) -> str:
    """Median and range over the seeds of `first_active_epochs`, and in how many if not in all."""
    found = first.dropna()
    if found.empty:
        return "never"
    low, high = int(found.min()), int(found.max())
    words = f"{found.median():g}" if low == high else f"{found.median():g} ({low}\u2013{high})"
    return words if len(found) == len(first) else f"{words}; {len(found)} of {len(first)}"


def _columns(layers: int) -> list[str]:
    return [f"skip_{l}_{i}" for l, i in skip_names(layers)]


def _median_skips(run: Run) -> pd.DataFrame:
    """Rows: epochs. Columns: skips, in the order of `skip_names`."""
    return run.history.groupby("epoch")[_columns(depth(run.seeds))].median()


def _draw_skips(axes: Axes, run: Run, median: pd.DataFrame, scale: ScalarMappable) -> None:
    layers = depth(run.seeds)
    names = skip_names(layers)
    last = int(median.index.max())
    extent = (0.5, last + 0.5, len(names) - 0.5, -0.5)
    show_matrix(axes, median.to_numpy().T, scale, extent)
    for row, column in enumerate(_columns(layers)):
        first = first_active_epochs(run.history, column)
        epoch = first.median()
        if np.isfinite(epoch):
            mark = [withStroke(linewidth=2.4, foreground="white")]
            axes.plot(
                [epoch, epoch],
                [row - 0.42, row + 0.42],
                color="black",
                linewidth=1.2,
                path_effects=mark,
            )
        words = first_active_in_words(first)
        axes.annotate(
            words, (1.015, row), xycoords=("axes fraction", "data"), va="center", fontsize=6.5
        )
    for l in range(1, layers):
        axes.axhline(l * (l + 1) / 2 - 0.5, color="0.6", linewidth=0.5)
    axes.annotate(
        "first active epoch,\nmedian (range)",
        (1.015, -0.9),
        xycoords=("axes fraction", "data"),
        va="bottom",
        fontsize=6.5,
    )
    axes.set_yticks(range(len(names)), [f"{i} \u2192 {l + 1}" for l, i in names], fontsize=6.5)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(r"skip $\tau^{(l,i)}$: from layer $i \to l+1$", labelpad=5)
