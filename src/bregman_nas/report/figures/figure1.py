"""Figure 1: clean, degraded and restored test digits."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bregman_nas.report.data import DIGIT_ROWS, NETWORKS, PROTOCOLS, TASKS, Run, Study, why_empty
from bregman_nas.report.figures.panels import title
from bregman_nas.report.figures.style import FULL_WIDTH, leave_empty

GAP = 3  # pixels between two rows of digits
DEGRADED = {"denoising": "noisy", "deblurring": "blurred, noisy"}
RESTORED = {"autoencoder": "autoencoder", "residual": "residual\nautoencoder"}


def draw(study: Study) -> Figure:
    """For each protocol and task the same digits, restored by both networks.

    Shown is the lowest seed that both networks have (of the one network, if only one has run):
    with the seed the noise is the same.
    """
    figure = Figure(figsize=(FULL_WIDTH, 3.2))
    grid = figure.subplots(len(PROTOCOLS), len(TASKS), gridspec_kw={"hspace": 0.1})
    for protocol, row in zip(PROTOCOLS, grid, strict=True):
        for task, axes in zip(TASKS, row, strict=True):
            axes.set_title(title(protocol, task, None))
            _draw_digits(axes, [study.run(protocol, f"{n}-{task}") for n in NETWORKS], task)
    return figure


def _draw_digits(axes: Axes, runs: list[Run | None], task: str) -> None:
    seeds = [set(run.converged) for run in runs if run is not None and run.converged]
    seed = min(set.intersection(*seeds) or seeds[0], default=None) if seeds else None
    pictures = [None if r is None or seed is None else r.picture(seed) for r in runs]
    first = next((picture for picture in pictures if picture is not None), None)
    if first is None:
        leave_empty(axes, "no picture" if seeds else _reason(*runs))
        return
    axes.set_title(f"{axes.get_title()} (seed {seed})")
    blank = np.full_like(first[0], np.nan)
    rows = [first[0], first[1], *(blank if p is None else p[2] for p in pictures)]
    stack = np.concatenate([part for row in rows for part in (row, blank[:GAP])][:-1])
    axes.imshow(stack, cmap="gray", vmin=0, vmax=255)
    middles = (DIGIT_ROWS + GAP) * np.arange(len(rows)) + (DIGIT_ROWS - 1) / 2
    for middle, run, picture in zip(middles[2:], runs, pictures, strict=True):
        if picture is None:
            place = (stack.shape[1] / 2, middle)
            axes.text(*place, _reason(run), ha="center", va="center", color="0.4")
    axes.set_yticks(middles, ["clean", DEGRADED[task], *RESTORED.values()])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _reason(*runs: Run | None) -> str:
    return next((reason for run in runs if (reason := why_empty(run))), "no picture")
