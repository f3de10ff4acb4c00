"""Widths, skips and rows: at the end of the searches, and over the epochs."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from bregman_nas.report.changes import Group, Row, groups
from bregman_nas.report.data import NETWORKS, PIXELS, PROTOCOLS, TASKS, WORDS, Array, Run, Study
from bregman_nas.report.figures import panels
from bregman_nas.report.text import NOT_RUN

ARTICLE_OUTPUT = 0.65  # the article's share of rows in the output layer
COLUMNS = 4
LINE_HEIGHT, PAGE = 1.5, 9.4  # inches
SMALL = 6.5  # size of letters
STYLES = {"active": "-", "living": "--"}


def widths(study: Study) -> Figure:
    """Box plots of the widths of the autoencoders."""
    figure, grid = panels.subplots(2.75, len(PROTOCOLS), len(TASKS))
    for axes, run in panels.runs(grid, study, ["autoencoder"]):
        _draw_widths(axes, run)
        height = ARTICLE_OUTPUT * PIXELS
        axes.axhline(height, color="black", linewidth=0.7, linestyle=":")
        words = f"{ARTICLE_OUTPUT:.0%} of {PIXELS},\nthe article's output layer"
        axes.text(run.depth + 0.45, height + 20, words, fontsize=6.5, ha="right", va="bottom")
    return figure


def _draw_widths(axes: Axes, run: Run) -> None:
    """Box plots over the converged seeds, and each seed as a point; the input, in grey, has 784."""
    found, layers, colour = run.rows(), np.arange(1, run.depth + 1), panels.COLOURS[run.protocol]
    look: dict[str, Any] = {"color": colour, "linecolor": colour, "linewidth": 0.9, "width": 0.62}
    look |= {"boxprops": {"facecolor": f"{colour}30"}, "medianprops": {"linewidth": 1.6}}
    frame = pd.DataFrame(found, columns=layers)
    seaborn.boxplot(frame, ax=axes, native_scale=True, showfliers=False, **look)
    # Not random: the same bytes each time, and a seed can be followed from box to box.
    places = np.linspace(-0.22, 0.22, len(found)) if len(found) > 1 else np.zeros(1)
    for place, of_seed in zip(places, found, strict=True):
        axes.plot(layers + place, of_seed, ".", color="black", markersize=3, mew=0, zorder=4)
    axes.plot([-0.31, 0.31], [PIXELS, PIXELS], color="0.55", linewidth=1.6)
    panels.rows_axis(axes)
    axes.set_xticks([0, *layers], ["0 (input)", *map(str, layers[:-1]), f"{run.depth} (output)"])
    axes.set(xlim=(-0.5, run.depth + 0.5), xlabel="layer", ylabel="active rows")


def skips(study: Study) -> Figure:
    """Box plots of the widths, and under them the skips: into l + 1 (rows) from i."""
    heights = [1, 1.9] * len(PROTOCOLS)
    figure, grid = panels.subplots(5.6, len(heights), len(TASKS), height_ratios=heights)
    below = dict(zip(grid[0::2].flat, grid[1::2].flat, strict=True))
    shown = [(axes, run, run.tau()) for axes, run in panels.runs(grid[0::2], study, ["residual"])]
    what = r"mean over the seeds of the skip $\tau^{(l,i)}$"
    scale = panels.add_skip_scale(figure, grid, (tau.mean(0) for *_, tau in shown), what)
    for axes, run, tau in shown:
        _draw_widths(axes, run)
        names = ["0 (input)", *map(str, range(1, run.depth)), f"{run.depth} (output)"]
        ticks = {"xticklabels": names[:-1], "yticklabels": names[1:]}
        words = [[cell(of_skip) for of_skip in of_layer] for of_layer in tau.transpose(1, 2, 0)]
        matrix = below.pop(axes)
        panels.draw_matrix(matrix, tau.mean(0), words, scale, **ticks)
        matrix.set(xlabel="skip from layer $i$", ylabel="skip into layer $l+1$")
    for matrix in below.values():
        matrix.set_axis_off()
    return figure


def cell(of_seeds: Array) -> str:
    """Mean and, on a second line, standard deviation (n - 1), unless all are zero or one."""
    mean = panels.signed(float(of_seeds.mean()))
    if len(of_seeds) == 1 or not of_seeds.any():
        return mean
    return f"{mean}\n({of_seeds.std(ddof=1):.2f})"


def skips_over_epochs(study: Study) -> Figure:
    """The median over the seeds of each skip, and the first epoch in which it is on."""
    figure, grid = panels.subplots(6.1, len(PROTOCOLS), len(TASKS))
    shown = []
    for axes, run in panels.runs(grid, study, ["residual"], "\n"):
        found = run.frames.skips[run.frames.skips["seed"].isin(run.converged)]
        median = found.groupby(["epoch", "l", "i"])["tau"].median().unstack(["l", "i"])
        shown.append((axes, median, first_active_epochs(found)))
    what = r"median over the seeds of the skip $\tau^{(l,i)}$, hatched if negative"
    scale = panels.add_skip_scale(figure, grid, (median.to_numpy() for _, median, _ in shown), what)
    for axes, median, first in shown:
        values, epochs = median.to_numpy().T, median.index.to_numpy(float)
        extent = (0.5, epochs[-1] + 0.5, len(values) - 0.5, -0.5)
        look: dict[str, Any] = {"cmap": scale.cmap, "norm": scale.norm, "aspect": "auto"}
        axes.imshow(values, extent=extent, **look)
        _draw_first_active(axes, first)
        hatch: dict[str, Any] = {"hatch": "/////", "facecolor": "none", "edgecolor": "0.35"}
        for row, negative in enumerate(values < 0):  # can be told in grey as well
            ends = (row - 0.5, row + 0.5)
            axes.fill_between(epochs, *ends, where=negative, step="mid", linewidth=0, **hatch)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("epoch")
    for axes in grid[:, 0]:  # beside others it would collide with the words of those before
        axes.set_ylabel(r"skip $\tau^{(l,i)}$: from layer $i \to l+1$", labelpad=5)
    return figure


def _draw_first_active(axes: Axes, first: pd.DataFrame) -> None:
    """A tick in each row at the median over the seeds; beside it the median and the range."""
    outline: dict[str, Any] = {"path_effects": [withStroke(linewidth=2.4, foreground="white")]}
    look: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "fontsize": SMALL}
    axes.annotate("first active epoch,\nmedian (range)", (1.015, -0.9), va="bottom", **look)
    pairs = [(int(l), int(i)) for l, i in first.columns.to_frame().to_numpy()]
    for row, (l, i) in enumerate(pairs):
        epoch, ends = first[l, i].median(), [row - 0.42, row + 0.42]
        axes.plot([epoch, epoch], ends, color="black", linewidth=1.2, **outline)
        axes.annotate(first_active_in_words(first[l, i]), (1.015, row), va="center", **look)
        if i == 0 < l:
            axes.axhline(row - 0.5, color="0.6", linewidth=0.5)
    names = [f"{i} \u2192 {l + 1}" for l, i in pairs]
    axes.set_yticks(range(len(names)), names, fontsize=SMALL)
    axes.tick_params(axis="y", length=0)


def first_active_epochs(found: pd.DataFrame) -> pd.DataFrame:
    """For each seed (rows) and skip (columns l, i) the first epoch in which it is on, or NaN."""
    active = found.assign(epoch=found["epoch"].where(found["tau"] != 0))
    return active.groupby(["seed", "l", "i"])["epoch"].min().unstack(["l", "i"])


def first_active_in_words(first: pd.Series) -> str:
    """Median and range over the seeds, and in how many there is one if not in all."""
    found = first.dropna()
    if found.empty:
        return "never"
    low, high = int(found.min()), int(found.max())
    words = f"{found.median():g}" if low == high else f"{found.median():g} ({low}\u2013{high})"
    return words if len(found) == len(first) else f"{words}; {len(found)} of {len(first)}"


def rows(study: Study) -> Figure:
    """Active and living rows of all layers together, over the epochs."""
    figure, grid = panels.subplots(2.9, len(PROTOCOLS), len(NETWORKS) * len(TASKS), sharey=True)
    for axes, run in panels.runs(grid, study, NETWORKS, "\n"):
        _draw_rows(axes, run)
    figure.supylabel("rows of all layers", fontsize=7.5)
    _finish_rows(figure)
    return figure


def rows_by_layer(study: Study) -> Figure:
    """A row for each network and task, a panel for each layer, both protocols."""
    layers = max((run.depth for run in study.restoration), default=1)
    experiments = [f"{network}-{task}" for network in NETWORKS for task in TASKS]
    shape = (len(experiments), layers)
    figure, grid = panels.subplots(5, *shape, sharex=True, sharey=True, squeeze=False)
    for line, experiment in zip(grid, experiments, strict=True):
        runs = [study.run(protocol, experiment) for protocol in PROTOCOLS]
        for layer, axes in enumerate(line, start=1):
            for run in runs:
                if run is not None and run.converged and layer <= run.depth:
                    _draw_rows(axes, run, layer)
            if not axes.has_data():
                panels.leave_empty(axes, panels.DIVERGED if any(runs) else NOT_RUN)
        network, _, task = experiment.partition("-")
        line[0].set_ylabel(f"{panels.NAMES[network]},\n{task}: rows".replace(" auto", "\nauto"))
    for layer, axes in enumerate(grid[0], start=1):
        axes.set_title(f"layer {layer}" if layer < layers else f"layer {layer} (output)")
    colours = [Line2D([], [], color=panels.COLOURS[p], label=WORDS[p]) for p in PROTOCOLS]
    _finish_rows(figure, *colours)
    return figure


def _finish_rows(figure: Figure, *handles: Line2D) -> None:
    """The axis of epochs, and a legend."""
    figure.supxlabel("epoch", fontsize=7.5)
    kinds = [Line2D([], [], color="black", ls=s, label=f"{k} rows") for k, s in STYLES.items()]
    bands = Patch(color="0.8", label="range over the seeds (lines: median)")
    figure.legend(handles=[*handles, *kinds, bands], ncols=5, loc="outside upper center")


def _draw_rows(axes: Axes, run: Run, layer: int | None = None) -> None:
    """Rows at the end of each epoch, of one layer or all: median and range over the seeds."""
    frame, colour = run.frames.layers, panels.COLOURS[run.protocol]
    chosen = frame["seed"].isin(run.converged) & frame["kind"].isin([*STYLES])
    if layer is not None:
        chosen &= frame["layer"] == layer
    sums = frame[chosen].groupby(["kind", "epoch", "seed"])["rows"].sum()
    spread = sums.groupby(["kind", "epoch"]).agg(["median", "min", "max"])
    for kind, style in STYLES.items():
        of = spread.loc[kind]
        axes.fill_between(of.index, of["min"], of["max"], color=colour, alpha=0.2, linewidth=0)
        axes.plot(of.index, of["median"], color=colour, linestyle=style)
    axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10], integer=True))
    panels.rows_axis(axes, PIXELS * (run.depth if layer is None else 1))


def changed(study: Study) -> Figure:
    """The widths of runs in which something is changed, beside their protocol's own."""
    lines = [line for group in groups(study) for line in _lines(group)]
    if not lines:
        return panels.empty_figure(f"runs in which something is changed: {NOT_RUN}")
    height = min(LINE_HEIGHT * len(lines), PAGE) + 0.3
    figure, grid = panels.subplots(height, len(lines), COLUMNS, squeeze=False)
    figure.suptitle("Grey: the protocol's own run, mean over the same seeds")
    figure.supxlabel("layer", fontsize=7.5)
    figure.supylabel("active rows", fontsize=7.5)
    for line, (group, own, found) in zip(grid, lines, strict=True):
        for axes, row in zip_longest(line, found):
            if row is None:
                axes.set_axis_off()
                continue
            title = row.words.replace(", ", ",\n")
            if row is own:
                name = panels.name_of(row.row.protocol, group.experiment)
                title = f"{name},\nepoch {group.epoch}"
            axes.set_title(title, fontsize=7)
            _draw_changed(axes, row, own)
        for axes in [axes for axes in line if axes.has_data()][1:]:
            axes.tick_params(labelleft=False)
    return figure


def _lines(group: Group) -> Iterator[tuple[Group, Row, list[Row | None]]]:
    """For each line of panels the protocol's own run, and what its panels show."""
    made = [row for row in group.rows if row.row.change and len(row.numbers)]
    for own in (row for row in group.rows if not row.row.change):
        others = [row for row in made if row.row.protocol == own.row.protocol]
        for start in range(0, max(1, len(others)), COLUMNS - 1):
            yield group, own, [own if start == 0 else None, *others[start : start + COLUMNS - 1]]


def _draw_changed(axes: Axes, row: Row, own: Row) -> None:
    """A line for each converged seed, and the mean of the protocol's own run in grey."""
    frames = (of.numbers.filter(regex="^width_").dropna() for of in (row, own))
    found, beside = (frame.to_numpy(float) for frame in frames)
    if not len(found):
        panels.leave_empty(axes, panels.DIVERGED if len(row.numbers) else NOT_RUN)
        return
    layers = np.arange(1, found.shape[1] + 1)
    if row is not own and beside.shape[1:] == found.shape[1:]:
        axes.plot(layers, beside.mean(0), color="0.6", linewidth=2)
    colour, skips_on = panels.COLOURS[row.row.protocol], row.of("skips_on")
    axes.plot(layers, found.T, marker=".", markersize=3.5, color=colour, linewidth=0.7)
    words = panels.seeds_in_words(len(found), len(row.numbers) - len(found))
    words += "" if skips_on.mean is None else f", {skips_on.mean:.1f} skips on"
    axes.text(0.03, 1, words, transform=axes.transAxes, va="top", fontsize=7)
    panels.rows_axis(axes)
    axes.set(ylim=(0, 1.3 * PIXELS), xticks=layers)
