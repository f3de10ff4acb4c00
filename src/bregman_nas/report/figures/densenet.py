"""The DenseNets: their kernels, and how many grow in their first steps."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bregman_nas.report.changes import in_words
from bregman_nas.report.data import WORDS, Array, Run, Study
from bregman_nas.report.facts import OWN, by_beginning, by_settings
from bregman_nas.report.figures import panels
from bregman_nas.report.measures import collapsed, living
from bregman_nas.report.text import NOT_RUN, counted, span

STRIP = 8  # times that the only input, or the only output, is drawn as wide as a channel
CLIPPED = 99  # percentile of the norms that are not zero
ROW_HEIGHT = 0.17  # inches


def kernels(study: Study, own: bool = True) -> Figure:
    """The kernels of the protocols' own DenseNets, or of those in which something is changed.

    Left the mean over the seeds of the norm of each kernel, right their block sums. Rows are
    convolutions: the first, from the image to k channels; the layers of the dense block, to k each;
    the last, to one. Columns are what puts the channels out. Networks that collapsed are only
    counted.
    """
    runs = [run for run in study.densenets if run.own == own]
    shown = [run for run in runs if living(run).converged]
    if not shown:
        reasons = [_lost(run) if run.converged else panels.DIVERGED for run in runs] or [NOT_RUN]
        return panels.empty_figure(f"DenseNet: {'; '.join(reasons)}")
    norms = [[of_seeds.mean(0) for of_seeds in living(run).norms] for run in shown]
    sums = [block_sums(of_run) for of_run in norms]
    figure, grid = panels.subplots(0.5 + 3.1 * len(shown), len(shown), 2, squeeze=False)
    single, summed = _scale([conv for of_run in norms for conv in of_run], CLIPPED), _scale(sums)
    for (left, right), run, convolutions, matrix in zip(grid, shown, norms, sums, strict=True):
        left.set(title=_title(run), ylabel="output channels of")
        _draw_channels(left, convolutions, single)
        left.set_xlabel("input channels, by what puts them out")
        right.set(title="Sums over blocks of channels", xlabel="from", ylabel="into")
        names = ["first conv.", *(f"layer {l}" for l in range(1, len(matrix) - 1)), "last conv."]
        words = [[panels.signed(value) for value in row] for row in matrix]
        panels.draw_matrix(right, matrix, words, summed)
        for axes in (left, right):
            axes.set_yticks(axes.get_yticks(), names)
            below = ["image", *(name.replace(" ", "\n") for name in names[:-1])]
            axes.set_xticks(axes.get_xticks(), below)
            axes.tick_params(length=0)
    bar: dict[str, Any] = {"location": "bottom", "aspect": 40, "pad": 0.02}
    label = "mean norm of a kernel (white: zero in all seeds;\n"
    label += f"colours end at the {CLIPPED}th percentile)"
    figure.colorbar(single, ax=grid[:, 0], label=label, extend="max", **bar)
    label = r"sum of the norms, $\tau^{(l,r)}$ (white: zero)"
    figure.colorbar(summed, ax=grid[:, 1], label=label, **bar)
    return figure


def _title(run: Run) -> str:
    others = living(run)
    accuracy = span(100 * others.score("accuracy"), "{:.1f}")
    seeds = panels.seeds_in_words(len(others.converged), others.diverged)
    words = ", ".join(filter(None, ["DenseNet", WORDS[run.protocol], in_words(run.row.change)]))
    words += f": {seeds}, test accuracy {accuracy}%"
    return f"{words}\n({_lost(run)})" if collapsed(run).any() else words


def _lost(run: Run) -> str:
    lost = collapsed(run)
    accuracy = span(100 * run.scores()["accuracy"].to_numpy(float)[lost], "{:.1f}")
    return f"not shown: {counted(int(lost.sum()), 'seed')} that collapsed to {accuracy}%"


def block_sums(convolutions: Sequence[Array]) -> Array:
    """tau(l, r) of all convolutions, [convolutions, sources], NaN where nothing leads.

    Each sums the norms [out, in] of a convolution over its outputs and its inputs rk to
    (r + 1)k - 1. Column 0 is the image, column 1 + r block r: of the first convolution, then of
    layer r.
    """
    first, *others = convolutions
    matrix = np.full((len(convolutions), len(convolutions)), np.nan)
    matrix[0, 0] = first.sum()
    for row, norms in enumerate(others, start=1):
        matrix[row, 1 : row + 1] = norms.reshape(len(norms), row, len(first)).sum((0, 2))
    return matrix


def _scale(values: Sequence[Array], percentile: int = 100) -> ScalarMappable:
    # Zero lies just below the scale, and is white, also in grey; not closer, for in single
    # precision, in which pictures are scaled, it would be on it.
    colours = matplotlib.colormaps["YlGnBu"](np.linspace(0.2, 1, 256))
    limit = panels.largest_colour(values, percentile)
    return ScalarMappable(Normalize(1e-6 * limit, limit), ListedColormap(colours, under="white"))


def _draw_channels(axes: Axes, convolutions: Sequence[Array], scale: ScalarMappable) -> None:
    """All norms in one picture, and an outline around each block; ticks at their middles."""
    growth, count = len(convolutions[0]), len(convolutions)
    top, left = growth * np.arange(count + 1), growth * np.arange(-1, count) + STRIP
    top[-1], left[0] = top[-2] + STRIP, 0
    picture = np.full((top[-1], left[-1]), np.nan)
    for row, norms in enumerate(convolutions):
        first = 1 if row else 0  # the image leads to the first convolution alone
        picture[top[row] : top[row + 1], left[first] : left[row + 1]] = norms
        for column in range(first, row + 1):
            size = (left[column + 1] - left[column], top[row + 1] - top[row])
            look: dict[str, Any] = {"fill": False, "edgecolor": "0.4", "clip_on": False}
            corner = (left[column] - 0.5, top[row] - 0.5)
            axes.add_patch(Rectangle(corner, *size, linewidth=0.5, **look))
    look = {"cmap": scale.cmap, "norm": scale.norm}
    axes.imshow(picture, aspect="auto", **look)
    axes.set_xticks((left[1:] + left[:-1] - 1) / 2)
    axes.set_yticks((top[1:] + top[:-1] - 1) / 2)
    axes.spines[:].set_visible(False)


def first_steps(study: Study) -> Figure:
    """Above the share of networks that grow, by setting; below by how they began."""
    frame = study.first_steps
    if frame is None:
        return panels.empty_figure("first steps of the DenseNet: not made")
    own = by_beginning(frame[frame["start"] == OWN])
    shown = {"by setting": by_settings(frame), "in the study's setting, by their beginning": own}
    heights = [1 + len(shares) for shares in shown.values()]
    height, colour = 0.7 + ROW_HEIGHT * sum(heights), panels.COLOURS["paper"]
    gap = {"height_ratios": heights, "hspace": 0.12}
    figure, grid = panels.subplots(height, 2, sharex=True, gridspec_kw=gap)
    for axes, (how, shares) in zip(grid, shown.items(), strict=True):
        for row, share in enumerate(shares):
            axes.plot([share["low"], share["high"]], [row, row], color=colour)
            seeds, grow = share["seeds"], share["grow"]
            axes.plot(grow / seeds, row, "o", color=colour, markersize=4, clip_on=False)
            undecided = seeds - grow - share["dead"]
            words = f"{grow} of {seeds}" + (f", {undecided} undecided" if undecided else "")
            axes.text(1.02, row, words, va="center", transform=axes.get_yaxis_transform())
        axes.set_title(f"DenseNets that grow within {frame['steps'].iloc[0]} steps, {how}")
        axes.set_yticks(range(len(shares)), [share["name"] for share in shares])
        axes.set(xlim=(0, 1), ylim=(len(shares) - 0.5, -0.5))
        axes.xaxis.set_major_formatter("{x:.0%}")
        axes.grid(axis="x")
    grid[-1].set_xlabel("share that grows, and its exact 95% interval")
    return figure
