"""All figures of the study: `draw` writes them under figures/."""

from collections.abc import Collection
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from bregman_nas.report import (
    figure1,
    figure2,
    figure3,
    figure4,
    figure5,
    figure6,
    figure7,
    figure8,
)
from bregman_nas.report.style import study_style

MODULES = {
    1: figure1,
    2: figure2,
    3: figure3,
    4: figure4,
    5: figure5,
    6: figure6,
    7: figure7,
    8: figure8,
}


def draw(project: Path, numbers: Collection[int] = ()) -> None:
    """Write figure1 to figure8, each as PNG (200 dpi) and PDF.

    The same results give the same bytes. A run that has not been made leaves its panel empty but
    for these words.

    Args:
        project: the repository; `results/` in it is read, `figures/` written.
        numbers: of the figures; by default all.
    """
    folder = project / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    with study_style():
        for number in numbers or MODULES:
            _save(MODULES[number].draw(project), folder / f"figure{number}")


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    _fix_layout(figure)
    # Without dates and versions, which would change the bytes.
    figure.savefig(path.with_suffix(".png"), metadata={"Software": None})
    nothing = {"CreationDate": None, "Creator": None, "Producer": None}
    figure.savefig(path.with_suffix(".pdf"), metadata=nothing)


def _fix_layout(figure: Figure) -> None:
    """Lay the panels out once, at places that do not change from process to process.

    The solver of matplotlib's layout sums in the order of addresses in memory: its last bits
    differ from time to time, and in a picture a pixel here or there.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position(Bbox(axes.get_position(original=True).get_points().round(4)))
