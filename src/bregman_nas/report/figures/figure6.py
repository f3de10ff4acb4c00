"""Figure 6, beyond the article: the skips over the epochs, and when each switches on."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from bregman_nas.report.data import PROTOCOLS, TASKS, Run, Study, why_empty
from bregman_nas.report.figures.panels import by_protocol_and_task, title
from bregman_nas.report.figures.style import FULL_WIDTH, add_skip_scale, leave_empty, show_matrix
from bregman_nas.report.frames import skip_names


def draw(study: Study) -> Figure:
    """For each residual run a row for each skip: its median over the seeds in each epoch.

    Negative values are hatched. A tick marks the median over the seeds of the first epoch at whose
    end the skip is not zero; beside the row stand that median and its range, over those seeds in
    which there is one.
    """
    figure = Figure(figsize=(FULL_WIDTH, 5.8))
    grid = figure.subplots(len(PROTOCOLS), len(TASKS))
    runs = list(by_protocol_and_task(study, "residual"))
    medians = [None if why_empty(run) or run is None else _median_skips(run) for _, _, run in runs]
    scale = add_skip_scale(
        figure,
        grid,
        (median.to_numpy() for median in medians if median is not None),
        r"median over the seeds of the skip $\tau^{(l,i)}$, hatched if negative",
    )
    for axes, (protocol, task, run), median in zip(grid.flat, runs, medians, strict=True):
        axes.set_title(title(protocol, task, run))
        if run is None or median is None:
            leave_empty(axes, why_empty(run) or "")
        else:
            _draw_skips(axes, run, median, scale)
    return figure


def first_active_epochs(skips: pd.DataFrame) -> pd.DataFrame:
    """For each seed (rows) and skip (columns l, i) the first epoch in which it is not zero.

    NaN if there is none.

    Args:
        skips: the frame of a run.
    """
    active = skips.assign(epoch=skips["epoch"].where(skips["tau"] != 0))
    return active.groupby(["seed", "l", "i"])["epoch"].min().unstack(["l", "i"])


def first_active_in_words(first: pd.Series) -> str:
    """Median and range over the seeds, and in how many there is one if not in all."""
    found = first.dropna()
    if found.empty:
        return "never"
    low, high = int(found.min()), int(found.max())
    words = f"{found.median():g}" if low == high else f"{found.median():g} ({low}\u2013{high})"
    return words if len(found) == len(first) else f"{words}; {len(found)} of {len(first)}"


def _converged(run: Run) -> pd.DataFrame:
    return run.frames.skips[run.frames.skips["seed"].isin(run.converged)]


def _median_skips(run: Run) -> pd.DataFrame:
    """Rows: epochs. Columns: skips (l, i), in the order of `skip_names`."""
    return _converged(run).groupby(["epoch", "l", "i"])["tau"].median().unstack(["l", "i"])


def _draw_skips(axes: Axes, run: Run, median: pd.DataFrame, scale: ScalarMappable) -> None:
    layers, names = run.depth, skip_names(run.depth)
    extent = (0.5, run.last + 0.5, len(names) - 0.5, -0.5)
    values, epochs = median.to_numpy().T, median.index.to_numpy(float)
    show_matrix(axes, values, scale, extent)
    for row, negative in enumerate(values < 0):  # what is negative can be told in grey as well
        hatch: dict[str, Any] = {"hatch": "/////", "facecolor": "none", "edgecolor": "0.35"}
        axes.fill_between(
            epochs, row - 0.5, row + 0.5, where=negative, step="mid", linewidth=0, **hatch
        )
    first = first_active_epochs(_converged(run))
    for row, name in enumerate(names):
        epoch = first[name].median()
        if np.isfinite(epoch):
            look: dict[str, Any] = {"path_effects": [withStroke(linewidth=2.4, foreground="white")]}
            ends = [row - 0.42, row + 0.42]
            axes.plot([epoch, epoch], ends, color="black", linewidth=1.2, **look)
        _beside(axes, first_active_in_words(first[name]), row, "center")
    for l in range(1, layers):
        axes.axhline(l * (l + 1) / 2 - 0.5, color="0.6", linewidth=0.5)
    _beside(axes, "first active epoch,\nmedian (range)", -0.9, "bottom")
    axes.set_yticks(range(len(names)), [f"{i} \u2192 {l + 1}" for l, i in names], fontsize=6.5)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(r"skip $\tau^{(l,i)}$: from layer $i \to l+1$", labelpad=5)


def _beside(axes: Axes, words: str, row: float, align: str) -> None:
    where = ("axes fraction", "data")
    axes.annotate(words, (1.015, row), xycoords=where, va=align, fontsize=6.5)
