"""The figures: `figure<n>.draw` makes each from the frames, and `draw` writes them all."""

import importlib
import pkgutil
from collections.abc import Collection
from types import ModuleType

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from bregman_nas.report.data import Study
from bregman_nas.report.figures.style import study_style


def modules() -> dict[int, ModuleType]:
    """The module of each figure, by its number."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    numbers = sorted(int(name[6:]) for name in names if name.startswith("figure"))
    return {n: importlib.import_module(f"{__name__}.figure{n}") for n in numbers}


def draw(study: Study, numbers: Collection[int] = ()) -> str:
    """Write figures/figure<n>, each as PNG (200 dpi) and PDF; returns a line that says so.

    The same results give the same bytes. A run that has not been made leaves its panel empty but
    for these words.

    Args:
        study: all results.
        numbers: of the figures; by default all.
    """
    folder = study.project / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    found = modules()
    chosen = sorted(numbers or found)
    with study_style():
        for number in chosen:
            figure: Figure = found[number].draw(study)
            FigureCanvasAgg(figure)
            _fix_layout(figure)
            path = folder / f"figure{number}"
            # Without dates and versions, which would change the bytes.
            figure.savefig(path.with_suffix(".png"), metadata={"Software": None})
            nothing = {"CreationDate": None, "Creator": None, "Producer": None}
            figure.savefig(path.with_suffix(".pdf"), metadata=nothing)
    return f"figures {', '.join(map(str, chosen))} in {folder}, as PNG and PDF"


def _fix_layout(figure: Figure) -> None:
    """Lay the panels out once, at places that do not change from process to process.

    The solver of matplotlib's layout sums in the order of addresses in memory: its last bits
    differ from time to time, and in a picture a pixel here or there.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position(Bbox(axes.get_position(original=True).get_points().round(4)))
