"""What the figures share: sizes, colours, words, scales and panels."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure

from bregman_nas.report.data import PIXELS, PROTOCOLS, TASKS, WORDS, Array, Run, Study
from bregman_nas.report.table1 import ARTICLE_UNIT
from bregman_nas.report.text import NOT_RUN, counted, with_minus

FULL_WIDTH = 178 / 25.4  # inches: the text block of the article, A4 less two margins of 16 mm
# Blue and orange of Okabe and Ito, apart for all kinds of colour vision and in grey.
COLOURS = {"paper": "#0072B2", "authors": "#E69F00"}
NAMES = {"autoencoder": "Autoencoder", "residual": "Residual autoencoder"}
ERROR = rf"${ARTICLE_UNIT} \times$ mean squared error"
DIVERGED = "all seeds diverged"
#: The style of the study and nothing of the user's; it must hold while drawing and saving.
study_style = partial(
    matplotlib.style.context, str(Path(__file__).with_name("study.mplstyle")), after_reset=True
)


def subplots(height: float, *shape: int, **options: Any) -> tuple[Figure, Any]:
    """A figure as wide as the text block and so many inches high, and its panels."""
    figure = Figure(figsize=(FULL_WIDTH, height))
    return figure, figure.subplots(*shape, **options)


def leave_empty(axes: Axes, reason: str) -> None:
    """Say in the middle of an empty panel why it is empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", color="0.4")


def empty_figure(reason: str) -> Figure:
    """A figure that says why it is empty."""
    figure, axes = subplots(0.6)
    leave_empty(axes, reason)
    return figure


def name_of(protocol: str, experiment: str, sep: str = " ") -> str:
    """Such as `Residual autoencoder, denoising, text`."""
    network, _, task = experiment.partition("-")
    return f"{NAMES[network]},{sep}{task}, {WORDS[protocol]}"


def runs(
    grid: Any, study: Study, networks: Sequence[str], sep: str = " "
) -> Iterator[tuple[Axes, Run]]:
    """Title all panels, a row a protocol, a column a network and task; those with results.

    In the others stands why they are empty.
    """
    cases = product(PROTOCOLS, networks, TASKS)
    for axes, (protocol, network, task) in zip(grid.flat, cases, strict=True):
        experiment = f"{network}-{task}"
        run = study.run(protocol, experiment)
        seeds = "" if run is None else f"{sep}({seeds_in_words(len(run.converged), run.diverged)})"
        axes.set_title(name_of(protocol, experiment, sep) + seeds, fontsize=8 if sep == " " else 7)
        if run is not None and run.converged:
            yield axes, run
        else:
            leave_empty(axes, DIVERGED if run else NOT_RUN)


def seeds_in_words(converged: int, diverged: int) -> str:
    """How many seeds a figure shows, and how many it leaves out because they diverged."""
    return counted(converged, "seed") + (f" + {diverged} diverged" if diverged else "")


def rows_axis(axes: Axes, most: float = PIXELS) -> None:
    """An axis for numbers of rows, with ticks at the quarters of all that there are."""
    axes.set(ylim=(0, 1.04 * most), yticks=np.linspace(0, most, 5, dtype=int))
    axes.grid(True, axis="y")


def largest_colour(values: Iterable[Array], percentile: int) -> float:
    """Where a colour scale ends: a percentile of the sizes that are not zero, 1 without any."""
    sizes = np.abs(np.concatenate([np.zeros(0), *map(np.ravel, values)]))
    sizes = sizes[sizes > 0]  # without NaN
    return float(np.percentile(sizes, percentile)) if sizes.size else 1.0


def add_skip_scale(figure: Figure, axes: Any, values: Iterable[Array], what: str) -> ScalarMappable:
    """One diverging scale, centred at 0, for the skips of all panels, and its bar under them.

    A few large values would leave the others without colour on a linear scale: it is the inverse
    hyperbolic sine, linear up to about the median of all sizes, and beyond it logarithmic.
    """
    arrays = list(values)
    limit, middle = largest_colour(arrays, 100), largest_colour(arrays, 50)
    norm = AsinhNorm(middle, -limit, limit)
    scale = ScalarMappable(norm, "RdBu")  # negative red, positive blue
    ticks = [float(f"{tick:.1g}") for tick in norm.inverse(np.linspace(0.1, 0.9, 9))]
    label = f"{what} (inverse hyperbolic sine scale)"
    look: dict[str, Any] = {"location": "bottom", "aspect": 60, "pad": 0.02, "shrink": 0.7}
    figure.colorbar(scale, ax=axes, label=label, ticks=ticks, format="{x:g}", **look)
    return scale


def draw_matrix(
    axes: Axes, values: Array, words: Sequence[Sequence[str]], scale: ScalarMappable, **names: Any
) -> None:
    """Values [rows, columns] in the colours of a scale, with words in each; NaN is left blank."""
    look: dict[str, Any] = {"cbar": False, "linewidths": 1, "cmap": scale.cmap, "norm": scale.norm}
    text = {"fontsize": 6.5, "linespacing": 1}
    seaborn.heatmap(values, annot=words, fmt="", annot_kws=text, ax=axes, **look, **names)
    colours = scale.to_rgba(values[np.isfinite(values)])[:, :3]
    for label, bright in zip(axes.texts, colours @ (0.299, 0.587, 0.114), strict=True):
        label.set_color("black" if bright > 0.5 else "white")
    axes.tick_params(length=0, rotation=0)


def signed(value: float) -> str:
    """A number for a matrix cell: exact zeros as a bare 0, a true minus sign, and none at 0.00."""
    return "0" if value == 0 else with_minus(f"{value:z.2f}")
