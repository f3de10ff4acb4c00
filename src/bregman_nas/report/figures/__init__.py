"""The figures: each is made from the frames by a function, and `draw` writes them all."""

from collections.abc import Callable, Collection
from functools import partial

from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from bregman_nas.errors import UserError
from bregman_nas.report.data import Study
from bregman_nas.report.figures import architecture, decides, densenet, losses
from bregman_nas.report.figures.panels import study_style

#: What draws each figure, by the name of its file. The first four are the article's Figures 1 to 4.
FIGURES: dict[str, Callable[[Study], Figure]] = {
    "digits": losses.digits,
    "widths": architecture.widths,
    "skips": architecture.skips,
    "kernels": densenet.kernels,
    "rows": architecture.rows,
    "skips-over-epochs": architecture.skips_over_epochs,
    "changed": architecture.changed,
    "kernels-changed": partial(densenet.kernels, own=False),
    "first-steps": densenet.first_steps,
    "losses": losses.beside,
    "parameters": losses.against_parameters,
    "variance": decides.variance,
    "output-rows": decides.output_rows,
    "rows-by-layer": architecture.rows_by_layer,
}


def draw(study: Study, names: Collection[str] = ()) -> str:
    """Write figures/<name>, by default all, as PNG and PDF; returns a line that says so.

    The same results give the same bytes.
    """
    if unknown := sorted({*names} - {*FIGURES}):
        raise UserError(f"there is no figure {unknown[0]}; there are {', '.join(FIGURES)}")
    folder = study.project / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [name for name in FIGURES if name in (names or FIGURES)]
    with study_style():
        for name in chosen:
            figure = FIGURES[name](study)
            _fix_layout(figure)
            path = folder / name
            # Without dates and versions, which would change the bytes.
            figure.savefig(path.with_suffix(".png"), metadata={"Software": None})
            nothing = {"CreationDate": None, "Creator": None, "Producer": None}
            figure.savefig(path.with_suffix(".pdf"), metadata=nothing)
    return f"figures {', '.join(chosen)} in {folder}, as PNG and PDF"


def _fix_layout(figure: Figure) -> None:
    """Lay the panels out once, at places that do not change from process to process.

    The solver of matplotlib's layout sums in the order of addresses in memory: its last bits
    differ from time to time, and in a picture a pixel here or there.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position(Bbox(axes.get_position(original=True).get_points().round(4)))
