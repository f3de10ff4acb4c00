"""The figures: each is made from the frames by a function, and `draw` writes them all."""

from collections.abc import Callable, Collection

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from bregman_nas.errors import UserError
from bregman_nas.report.data import Study
from bregman_nas.report.figures import architecture, decides, densenet, losses
from bregman_nas.report.figures.panels import study_style

#: What draws each figure, by its number. 1 to 4 are the article's, the others go beyond it.
FIGURES: dict[int, Callable[[Study], Figure]] = {
    1: losses.digits,
    2: architecture.widths,
    3: architecture.skips,
    4: densenet.kernels,
    5: architecture.rows,
    6: architecture.skips_over_epochs,
    7: architecture.changed,
    8: densenet.first_steps,
    9: losses.beside,
    10: losses.against_parameters,
    11: decides.variance,
    12: decides.output_rows,
    13: architecture.rows_by_layer,
}


def draw(study: Study, numbers: Collection[int] = ()) -> str:
    """Write figures/figure<n>, by default all, as PNG and PDF; returns a line that says so.

    The same results give the same bytes.
    """
    if unknown := sorted({*numbers} - {*FIGURES}):
        raise UserError(f"there is no figure {unknown[0]}; there are 1 to {max(FIGURES)}")
    folder = study.project / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = sorted(numbers or FIGURES)
    with study_style():
        for number in chosen:
            figure = FIGURES[number](study)
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
