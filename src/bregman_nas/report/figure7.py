"""Figure 7, beyond the article: the layer widths of the ablation beside each protocol's own run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bregman_nas.report.panels import quoted
from bregman_nas.report.read import PIXELS, Array
from bregman_nas.report.style import COLOURS, FULL_WIDTH, leave_empty

COLUMNS = 4
ROW_HEIGHT = 1.75  # inches


def draw(project: Path) -> Figure:
    """A panel for each run: the widths of each seed, and of the protocol's own run in grey.

    On the left the protocol's own run, on its right what is changed. In each panel stands how many
    skips are on, mean over the seeds. Drawn from `results/ablation.json`.
    """
    path = project / "results" / "ablation.json"
    content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {"runs": {}}
    lines = _lines(content["runs"])
    figure = Figure(figsize=(FULL_WIDTH, ROW_HEIGHT * max(1, len(lines)) + 0.3))
    grid = figure.subplots(max(1, len(lines)), COLUMNS, squeeze=False)
    if not lines:
        for axes in grid.flat:
            leave_empty(axes, "not run")
        return figure
    figure.suptitle(
        f"{content['experiment']} at epoch {content['epoch']}; "
        "grey: the protocol's own run, mean over the same seeds"
    )
    for panels, (own, line) in zip(grid, lines, strict=True):
        for axes, run in zip(panels, line, strict=True):
            if run is None:
                axes.set_axis_off()
            else:
                _draw_run(axes, run, own)
        first, *others = [axes for axes in panels if axes.has_data()] or [panels[0]]
        first.set_ylabel("active rows")
        for axes in others:
            axes.tick_params(labelleft=False)
    return figure


def _lines(runs: dict[str, Any]) -> list[tuple[Any, list[Any]]]:
    """For each line of panels the protocol's own run, and a run or None for each panel."""
    lines: list[tuple[Any, list[Any]]] = []
    for own in (run for run in runs.values() if run["change"] is None):
        variants = [
            run
            for run in runs.values()
            if run["protocol"] == own["protocol"] and run["change"] is not None
        ]
        for start in range(0, max(1, len(variants)), COLUMNS - 1):
            panels = [own if start == 0 else None, *variants[start : start + COLUMNS - 1]]
            lines.append((own, panels + [None] * (COLUMNS - len(panels))))
    return lines


def _draw_run(axes: Axes, run: Any, own: Any) -> None:
    is_own = run is own
    axes.set_title(quoted(run["protocol"]) if is_own else run["words"])
    found = _widths(run)
    if not len(found):
        leave_empty(axes, "all seeds diverged" if run["by_seed"] else "not run")
        return
    layers = np.arange(1, found.shape[1] + 1)
    beside = _widths(own)
    if not is_own and beside.shape[1:] == found.shape[1:]:
        axes.plot(layers, beside.mean(0), color="0.6", linewidth=1.6)
    colour = COLOURS.get(run["protocol"], "black")
    for widths in found:
        axes.plot(layers, widths, color=colour, linewidth=0.7, marker=".", markersize=3.5)
    axes.text(0.03, 1, _in_words(run), transform=axes.transAxes, va="top", fontsize=7)
    axes.set(ylim=(0, 1.35 * PIXELS), yticks=range(0, PIXELS + 1, 196), xticks=layers)
    axes.set(xlabel="layer")
    axes.grid(axis="y")


def _in_words(run: Any) -> str:
    seeds = len(_widths(run))
    words = f"{seeds} {'seed' if seeds == 1 else 'seeds'}"
    diverged = len(run["by_seed"]) - seeds
    if diverged:
        words += f" + {diverged} diverged"
    skips = run["measures"].get("skips_on")
    if skips is not None:
        mean = skips["mean"]
        words += f"\n{mean:.0f} skips on" if seeds == 1 else f"\n{mean:.1f} skips on, mean"
    return words


def _widths(run: Any) -> Array:
    """Active rows [converged seeds, L]."""
    found = [
        [value for name, value in seed.items() if name.startswith("width_")]
        for seed in run["by_seed"]
        if seed["ten_mse"] is not None
    ]
    return np.array(found, dtype=float)
