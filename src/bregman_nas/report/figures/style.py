"""What all figures share: the style file, colours and scales, words, empty panels."""

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bregman_nas.report.data import Array
from bregman_nas.report.text import with_minus

FULL_WIDTH = 178 / 25.4  # inches: the text block of the article, A4 less two margins of 16 mm
# Blue and orange of Okabe and Ito, apart for all kinds of colour vision and in grey.
COLOURS = {"paper": "#0072B2", "authors": "#E69F00"}


def study_style() -> AbstractContextManager[None]:
    """The style of the study and nothing of the user's; it must hold while drawing and saving."""
    path = Path(__file__).with_name("study.mplstyle")
    return matplotlib.style.context(str(path), after_reset=True)


def largest_colour(values: Iterable[Array], percentile: int) -> float:
    """Where a colour scale ends: a percentile of the sizes of all values that are not zero.

    NaN is passed over. 1 if there is no value but zero.
    """
    sizes = np.concatenate([np.zeros(0), *(np.abs(array).ravel() for array in values)])
    sizes = sizes[sizes > 0]
    return float(np.percentile(sizes, percentile)) if sizes.size else 1.0


def add_skip_scale(
    figure: Figure, axes: NDArray[np.object_], values: Iterable[Array], what: str
) -> ScalarMappable:
    """One diverging scale, centred at 0, for the skips of all panels, and its bar under them.

    A few large values would leave the others without colour on a linear scale: it is the inverse
    hyperbolic sine, linear up to about the median of all sizes, and beyond it logarithmic.

    Args:
        figure: gets the bar.
        axes: all panels of the figure.
        values: to be coloured; NaN is passed over.
        what: the bar's label.
    """
    arrays = list(values)
    limit, middle = largest_colour(arrays, 100), largest_colour(arrays, 50)
    norm = AsinhNorm(middle, -limit, limit)
    scale = ScalarMappable(norm, "RdBu")  # negative red, positive blue
    look: dict[str, Any] = {"location": "bottom", "aspect": 60, "shrink": 0.7, "pad": 0.02}
    label = f"{what} (inverse hyperbolic sine scale)"
    bar = figure.colorbar(scale, ax=axes, label=label, **look)
    ticks = _ticks(limit, norm)
    bar.set_ticks(ticks, labels=[with_minus(f"{tick:g}") for tick in ticks])
    return scale


def _ticks(limit: float, norm: AsinhNorm) -> list[float]:
    """0, and on both sides 1, 2 or 5 times powers of ten, not closer than their labels allow."""
    ticks: list[float] = []
    place = 1.0
    for exponent in range(math.ceil(math.log10(limit)), -12, -1):
        for tick in (5 * 10.0**exponent, 2 * 10.0**exponent, 10.0**exponent):
            found = float(norm(np.array([tick]))[0])
            if tick <= limit and place - found >= 0.06 and found - 0.5 >= 0.06:
                ticks, place = [tick, *ticks], found
    return [*(-tick for tick in reversed(ticks)), 0.0, *ticks]


def show_matrix(
    axes: Axes,
    values: Array,
    scale: ScalarMappable,
    extent: tuple[float, float, float, float] | None = None,
) -> None:
    """Show values [rows, columns] in the colours of a scale; NaN is left blank."""
    image = axes.imshow(values, cmap=scale.cmap, aspect="auto", extent=extent)
    image.norm = scale.norm


def text_colour(scale: ScalarMappable, value: float) -> str:
    """Black or white, whichever can be read on the colour of this value."""
    red, green, blue = scale.to_rgba(np.array([value]))[0, :3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def leave_empty(axes: Axes, reason: str) -> None:
    """Say in the middle of an empty panel why it is empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", color="0.4")


def empty_figure(reason: str) -> Figure:
    """A figure that says why it is empty."""
    figure = Figure(figsize=(FULL_WIDTH, 0.6))
    leave_empty(figure.subplots(), reason)
    return figure


def signed(value: float, digits: int = 2) -> str:
    """A number for a matrix cell: exact zeros as a bare 0, a true minus sign, and none at 0.00."""
    return "0" if value == 0 else with_minus(f"{value:z.{digits}f}")
