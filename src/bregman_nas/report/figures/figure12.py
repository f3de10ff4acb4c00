"""Figure 12, beyond the article: the active rows of the output layer, as pictures."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bregman_nas.report.data import DIGIT_ROWS, NETWORKS, PROTOCOLS, TASKS, Array, Study, why_empty
from bregman_nas.report.figures.panels import seeds_in_words
from bregman_nas.report.figures.style import FULL_WIDTH, leave_empty
from bregman_nas.report.measures import outputs
from bregman_nas.report.text import quoted


def draw(study: Study) -> Figure:
    """Left how often each pixel is inked, and which ever is; right how often its row is active.

    Each picture on the right is of a run: the share of the seeds in which the row is active, and
    the area under the curve of the frequency as its predictor, mean over the seeds.
    """
    figure = Figure(figsize=(FULL_WIDTH, 3.5))
    grid = figure.subplots(len(PROTOCOLS), 1 + len(NETWORKS) * len(TASKS))
    frequencies = study.frequencies
    ink = None if frequencies is None else (frequencies, (frequencies > 0).astype(float))
    titles = ("how often a pixel\nis inked", "which pixels\nare ever inked")
    for k, axes in enumerate(grid[:, 0]):
        _show(axes, titles[k], None if ink is None else ink[k], "not counted")
    areas = {run.name: found["area"].mean for run, found in outputs(study)}
    for line, protocol in zip(grid, PROTOCOLS, strict=True):
        names = [(network, task) for network in NETWORKS for task in TASKS]
        for axes, (network, task) in zip(line[1:], names, strict=True):
            run = study.run(protocol, f"{network}-{task}")
            title = f"{network}, {task},\n{quoted(protocol)}"
            reason = why_empty(run)
            if run is None or reason is not None:
                _show(axes, title, None, reason or "")
                continue
            _show(axes, title, run.output.mean(0), "")
            area = areas.get(run.name)
            told = "" if area is None else f"area {area:.3f}, "
            axes.set_xlabel(f"{told}{seeds_in_words(run)}")
    pictures = [image for axes in grid.flat for image in axes.images]
    if pictures:
        figure.colorbar(
            pictures[0],
            ax=grid,
            location="bottom",
            aspect=60,
            shrink=0.5,
            label="share of the training images, or of the seeds",
        )
    return figure


def _show(axes: Axes, title: str, values: Array | None, reason: str) -> None:
    axes.set_title(title, fontsize=7)
    if values is None:
        leave_empty(axes, reason)
        return
    picture = np.asarray(values, dtype=float).reshape(DIGIT_ROWS, -1)
    axes.imshow(picture, cmap="gray_r", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
