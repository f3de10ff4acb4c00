"""Figure 1: clean, degraded and restored test digits."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bregman_nas.report.panels import title
from bregman_nas.report.read import (
    DIGIT_ROWS,
    NETWORKS,
    PROTOCOLS,
    TASKS,
    Array,
    Run,
    read_run,
    why_empty,
)
from bregman_nas.report.style import FULL_WIDTH, leave_empty

GAP = 3  # pixels between two rows of digits
DEGRADED = {"denoising": "noisy", "deblurring": "blurred, noisy"}
RESTORED = {"autoencoder": "autoencoder", "residual": "residual\nautoencoder"}


def draw(project: Path) -> Figure:
    """For each protocol and task the same digits, restored by both networks.

    Shown is the lowest seed that both networks have (of the one network, if only one has run):
    with the seed the noise is the same.
    """
    figure = Figure(figsize=(FULL_WIDTH, 3.2))
    axes = figure.subplots(len(PROTOCOLS), len(TASKS), gridspec_kw={"hspace": 0.1})
    for row, protocol in enumerate(PROTOCOLS):
        for column, task in enumerate(TASKS):
            runs = {n: read_run(project, protocol, f"{n}-{task}") for n in NETWORKS}
            _draw_digits(axes[row, column], runs, protocol, task)
    return figure


def _draw_digits(axes: Axes, runs: dict[str, Run | None], protocol: str, task: str) -> None:
    axes.set_title(title(protocol, task, None))
    seed = _lowest_seed(runs.values())
    pictures = {name: _picture(run, seed) for name, run in runs.items()}
    first = next((p for p in pictures.values() if p is not None), None)
    if first is None:
        leave_empty(axes, _reason(*runs.values()))
        return
    axes.set_title(f"{title(protocol, task, None)} (seed {seed})")
    blank = np.full_like(first[0], np.nan)
    rows = [first[0], first[1], *(blank if p is None else p[2] for p in pictures.values())]
    gap = np.full_like(blank[:GAP], np.nan)
    stack = np.concatenate([part for row in rows for part in (row, gap)][:-1])
    axes.imshow(stack, cmap="gray", vmin=0, vmax=255)
    middles = (DIGIT_ROWS + GAP) * np.arange(len(rows)) + (DIGIT_ROWS - 1) / 2
    for middle, (name, picture) in zip(middles[2:], pictures.items(), strict=True):
        if picture is None:
            words = _reason(runs[name])
            axes.text(stack.shape[1] / 2, middle, words, ha="center", va="center", color="0.4")
    axes.set_yticks(middles, ["clean", DEGRADED[task], *RESTORED.values()])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _lowest_seed(runs: Iterable[Run | None]) -> int | None:
    seeds = [set(run.converged["seed"]) for run in runs if why_empty(run) is None and run]
    if not seeds:
        return None
    return int(min(set.intersection(*seeds) or seeds[0]))


def _picture(run: Run | None, seed: int | None) -> Array | None:
    return None if run is None or seed is None else run.picture(seed)


def _reason(*runs: Run | None) -> str:
    return next((reason for run in runs if (reason := why_empty(run))), "no picture")
