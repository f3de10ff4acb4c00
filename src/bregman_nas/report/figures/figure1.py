"""Figure 1: clean, degraded and restored test digits, and the errors of each."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bregman_nas.report.data import DIGIT_ROWS, NETWORKS, PROTOCOLS, TASKS, Run, Study, why_empty
from bregman_nas.report.figures.panels import title
from bregman_nas.report.figures.style import FULL_WIDTH, leave_empty
from bregman_nas.report.table1 import ARTICLE_UNIT

DIGITS = 4
BELOW_DIGITS, BELOW_ERRORS = 2, 12  # white pixels
ROWS = ["clean", "input", "error", "autoencoder", "error", "residual\nautoencoder", "error"]
BLACK = 0.5  # errors of this size or larger are black


def draw(study: Study) -> Figure:
    """For each protocol and task the same digits, restored by both networks.

    Below the input, and below what each network makes of it, stands the size of the error in each
    pixel, from white, 0, to black, `BLACK` or more; then the mean squared error of each digit in
    the unit of Table 1. Both are of the picture: 256 greys, nothing below 0 or above 1.

    Shown is the lowest seed that both networks have (of the one network, if only one has run):
    with the seed the noise is the same.
    """
    figure = Figure(figsize=(FULL_WIDTH, 3.5))
    grid = figure.subplots(1, len(PROTOCOLS) * len(TASKS))
    panels = [(protocol, task) for protocol in PROTOCOLS for task in TASKS]
    for axes, (protocol, task) in zip(grid, panels, strict=True):
        axes.set_title(title(protocol, task, None))
        _draw_digits(axes, [study.run(protocol, f"{n}-{task}") for n in NETWORKS])
    for axes in [axes for axes in grid if axes.images][1:]:
        axes.tick_params(labelleft=False)
    return figure


def _draw_digits(axes: Axes, runs: list[Run | None]) -> None:
    seeds = [set(run.converged) for run in runs if run is not None and run.converged]
    seed = min(set.intersection(*seeds) or seeds[0], default=None) if seeds else None
    pictures = [None if r is None or seed is None else r.picture(seed) for r in runs]
    shown = [None if p is None else p[:, :, : DIGITS * DIGIT_ROWS] / 255 for p in pictures]
    first = next((picture for picture in shown if picture is not None), None)
    if first is None:
        leave_empty(axes, "no picture" if seeds else _reason(*runs))
        return
    axes.set_title(f"{axes.get_title()}\n(seed {seed})")
    clean, white = first[0], np.ones_like(first[0])
    parts, ticks = [clean, white[:BELOW_DIGITS]], [DIGIT_ROWS / 2]
    for k, grey in enumerate(
        [first[1], *(None if picture is None else picture[2] for picture in shown)]
    ):
        errors = np.zeros_like(clean) if grey is None else np.abs(grey - clean)
        top = sum(map(len, parts))
        bottom = top + 2 * DIGIT_ROWS + BELOW_DIGITS
        ticks += [top + DIGIT_ROWS / 2, bottom - DIGIT_ROWS / 2]
        parts += [white if grey is None else grey, white[:BELOW_DIGITS]]
        parts += [1 - np.minimum(errors / BLACK, 1), white[:BELOW_ERRORS]]
        if grey is None:
            axes.text(clean.shape[1] / 2, ticks[-2], _reason(runs[k - 1]), ha="center", color="0.4")
            continue
        squares = (errors**2).reshape(DIGIT_ROWS, DIGITS, DIGIT_ROWS).mean((0, 2))
        look: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 6.5}
        for place, error in enumerate(ARTICLE_UNIT * squares):
            axes.text((place + 0.5) * DIGIT_ROWS, bottom, f"{error:.3f}", **look)
    axes.imshow(np.concatenate(parts), cmap="gray", vmin=0, vmax=1)
    axes.set_yticks(ticks, ROWS)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _reason(*runs: Run | None) -> str:
    return next((reason for run in runs if (reason := why_empty(run))), "no picture")
