"""Figure 4: the kernels of the DenseNet, by channel and summed over blocks of channels."""

from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bregman_nas.report.data import DENSENET, PROTOCOLS, Array, Run, Study, why_empty
from bregman_nas.report.figures.panels import seeds_in_words
from bregman_nas.report.figures.style import (
    FULL_WIDTH,
    empty_figure,
    largest_colour,
    show_matrix,
    signed,
    text_colour,
)
from bregman_nas.report.measures import collapsed, living
from bregman_nas.report.text import NOT_RUN, counted, quoted, span

STRIP = 5  # times that the only input, or the only output, is drawn as wide as a channel
CLIPPED = 99  # percentile of the norms that are not zero


def draw(study: Study) -> Figure:
    """Left the mean over the seeds of the norm of each kernel, right their block sums.

    Rows: the first convolution (from the image to k channels), the layers of the dense block
    (to k channels each), the last convolution (to one channel), which is no layer of the block.
    Columns: the image, then the channels that the first convolution and the layers put out. Only
    protocols that have been run have panels, and of these only the networks that did not collapse;
    the others are counted.
    """
    found = [run for p in PROTOCOLS if (run := study.run(p, DENSENET)) is not None]
    shown = {_title(run): living(run).norms for run in found if living(run).converged}
    if not shown:
        reasons = [why_empty(run) or _lost(run) for run in found] or [NOT_RUN]
        return empty_figure(f"DenseNet: {'; '.join(reasons)}")
    norms = {
        words: [of_seeds.mean(0) for of_seeds in all_norms] for words, all_norms in shown.items()
    }
    figure = Figure(figsize=(FULL_WIDTH, 0.5 + 3.1 * len(norms)))
    grid = figure.subplots(len(norms), 2, squeeze=False)
    single = _scale([c for cs in norms.values() for c in cs], CLIPPED)
    summed = _scale([block_sum_matrix(cs) for cs in norms.values()], 100)
    for panels, (title, convolutions) in zip(grid, norms.items(), strict=True):
        panels[0].set_title(title)
        panels[1].set_title("Sums over blocks of channels")
        _draw_channels(panels[0], convolutions, single)
        _draw_sums(panels[1], block_sum_matrix(convolutions), summed)
    label = "mean norm of a kernel (white: zero in all seeds;\n"
    label += f"colours end at the {CLIPPED}th percentile)"
    for column, scale, words, extend in (
        (0, single, label, "max"),
        (1, summed, r"sum of the norms, $\tau^{(l,r)}$ (white: zero)", "neither"),
    ):
        look: dict[str, Any] = {"location": "bottom", "aspect": 40, "pad": 0.02, "extend": extend}
        figure.colorbar(scale, ax=grid[:, column], label=words, **look)
    return figure


def _title(run: Run) -> str:
    others = living(run)
    accuracy = span(100 * others.score("accuracy"), "{:.1f}")
    words = f"{quoted(run.protocol)}: {seeds_in_words(others)}, test accuracy {accuracy}%"
    return f"{words}\n({_lost(run)})" if collapsed(run).any() else words


def _lost(run: Run) -> str:
    lost = collapsed(run)
    accuracy = span(100 * run.scores()["accuracy"].to_numpy(float)[lost], "{:.1f}")
    return f"not shown: {counted(int(lost.sum()), 'seed')} that collapsed to {accuracy}%"


def block_sums(norms: Array, growth: int) -> Array:
    """tau(l, r) of one layer: the sum over its outputs and the inputs rk to (r + 1)k - 1.

    Args:
        norms: [out, in] of kernels; in is a multiple of k.
        growth: k.

    Returns:
        [in / k].
    """
    sums: Array = norms.reshape(len(norms), -1, growth).sum((0, 2))
    return sums


def block_sum_matrix(convolutions: Sequence[Array]) -> Array:
    """Block sums of all convolutions, [convolutions, sources], NaN where nothing leads.

    Args:
        convolutions: norms [out, in] of the kernels: first convolution (one input, k outputs),
            layers of the dense block (k outputs each), last convolution.

    Returns:
        A row for each convolution. Column 0 is the image, column 1 + r the block r of channels:
        r = 0 from the first convolution, then from layer r.
    """
    first, *others = convolutions
    matrix = np.full((len(convolutions), len(convolutions)), np.nan)
    matrix[0, 0] = first.sum()
    for row, norms in enumerate(others, start=1):
        sums = block_sums(norms, growth=len(first))
        matrix[row, 1 : 1 + len(sums)] = sums
    return matrix


def _scale(values: Sequence[Array], percentile: int) -> ScalarMappable:
    # Zero lies just below the scale, and is white, also in grey; not closer, for in single
    # precision, in which pictures are scaled, it would be on it.
    colours: Colormap = ListedColormap(matplotlib.colormaps["YlGnBu"](np.linspace(0.2, 1, 256)))
    colours = colours.with_extremes(under="white")
    limit = largest_colour(values, percentile)
    return ScalarMappable(Normalize(1e-6 * limit, limit), colours)


def _draw_channels(axes: Axes, convolutions: Sequence[Array], scale: ScalarMappable) -> None:
    growth = len(convolutions[0])
    heights = [growth] * (len(convolutions) - 1) + [STRIP]
    widths = [STRIP] + [growth] * (len(convolutions) - 1)
    picture = np.full((sum(heights), sum(widths)), np.nan)
    first, *layers, last = convolutions
    picture[:growth, :STRIP] = first
    for l, norms in enumerate(layers, start=1):
        picture[l * growth : (l + 1) * growth, STRIP : STRIP + l * growth] = norms
    picture[-STRIP:, STRIP:] = last
    _draw_blocks(axes, picture, scale, heights, widths)
    axes.set(xlabel="input channels, by what puts them out", ylabel="output channels of")


def _draw_sums(axes: Axes, sums: Array, scale: ScalarMappable) -> None:
    count = len(sums)
    _draw_blocks(axes, sums, scale, [1] * count, [1] * count)
    for row, column in _connections(count):
        value = float(sums[row, column])
        colour = text_colour(scale, value)
        axes.text(column, row, signed(value), ha="center", va="center", color=colour, fontsize=7)
    axes.set(xlabel="from", ylabel="into")


def _draw_blocks(
    axes: Axes, picture: Array, scale: ScalarMappable, heights: Sequence[int], widths: Sequence[int]
) -> None:
    show_matrix(axes, picture, scale)
    tops = np.cumsum([0, *heights[:-1]]) - 0.5
    lefts = np.cumsum([0, *widths[:-1]]) - 0.5
    look: dict[str, Any] = {"fill": False, "edgecolor": "0.4", "linewidth": 0.5, "clip_on": False}
    for row, column in _connections(len(heights)):
        corner = (float(lefts[column]), float(tops[row]))
        axes.add_patch(Rectangle(corner, widths[column], heights[row], **look))
    names = ["first conv.", *(f"layer {l}" for l in range(1, len(heights) - 1))]
    axes.set_yticks(tops + np.array(heights) / 2, [*names, "last conv."])
    axes.set_xticks(lefts + np.array(widths) / 2, ["image", *(n.replace(" ", "\n") for n in names)])
    axes.get_xticklabels()[0].set_horizontalalignment("right")  # its column is narrow
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _connections(convolutions: int) -> Iterator[tuple[int, int]]:
    """All (convolution, source): the image leads to the first convolution alone."""
    yield 0, 0
    for row in range(1, convolutions):
        for column in range(1, row + 1):
            yield row, column
