"""What all figures share: the style file, the colours, the diverging scale, empty panels."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bregman_nas.report.read import Array

FULL_WIDTH = 178 / 25.4  # inches: the text block of the article, A4 less two margins of 16 mm
# Blue and vermilion of Okabe and Ito, apart for all kinds of colour vision and in grey.
COLOURS = {"paper": "#0072B2", "authors": "#D55E00"}
SKIPS_CLIPPED = 95


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

    A few large values would leave the others without colour: the scale is clipped, and says so.

    Args:
        figure: gets the bar.
        axes: all panels of the figure.
        values: all that is to be coloured; NaN is passed over.
        what: the bar's label.
    """
    limit = largest_colour(values, SKIPS_CLIPPED)
    scale = ScalarMappable(Normalize(-limit, limit), "RdBu")  # negative red, positive blue
    figure.colorbar(
        scale,
        ax=axes,
        location="bottom",
        aspect=60,
        shrink=0.7,
        pad=0.02,
        extend="both",
        label=f"{what} (colours end at the {SKIPS_CLIPPED}th percentile of their sizes)",
    )
    return scale


def show_matrix(
    axes: Axes,
    values: Array,
    scale: ScalarMappable,
    extent: tuple[float, float, float, float] | None = None,
) -> None:
    """Show values [rows, columns] in the colours of a scale; NaN is left blank."""
    low, high = scale.get_clim()
    axes.imshow(values, cmap=scale.cmap, vmin=low, vmax=high, aspect="auto", extent=extent)


def text_colour(scale: ScalarMappable, value: float) -> str:
    """Black or white, whichever can be read on the colour of this value."""
    red, green, blue = scale.to_rgba(np.array([value]))[0, :3]
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    return "black" if luminance > 0.5 else "white"


def leave_empty(axes: Axes, reason: str) -> None:
    """Say in the middle of an empty panel why it is empty."""
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    axes.spines[:].set_visible(False)
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", color="0.4")


def signed(value: float, digits: int = 2) -> str:
    """A number for a matrix cell: exact zeros as a bare 0, a true minus sign."""
    return "0" if value == 0 else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")
