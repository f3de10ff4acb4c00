"""Figure 7, beyond the article: the widths of runs in which something is changed."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bregman_nas.report.changes import Row, groups
from bregman_nas.report.data import PIXELS, Array, Study
from bregman_nas.report.figures.style import COLOURS, FULL_WIDTH, leave_empty
from bregman_nas.report.text import NOT_RUN, counted, quoted

COLUMNS = 4
ROW_HEIGHT = 1.75  # inches
Line = tuple[Row, list[Row | None]]


def draw(study: Study) -> Figure:
    """A panel for each run: the widths of each seed, and of the protocol's own run in grey.

    On the left the protocol's own run, on its right what is changed. In each panel stands how many
    skips are on, mean over the seeds.
    """
    found = groups(study)
    lines = [(group, line) for group in found for line in _lines(group.rows)]
    figure = Figure(figsize=(FULL_WIDTH, ROW_HEIGHT * max(1, len(lines)) + 0.3))
    grid = figure.subplots(max(1, len(lines)), COLUMNS, squeeze=False)
    if not lines:
        for axes in grid.flat:
            leave_empty(axes, NOT_RUN)
        return figure
    names = "; ".join(f"{group.experiment} at epoch {group.epoch}" for group in found)
    figure.suptitle(f"{names}; grey: the protocol's own run, mean over the same seeds")
    for panels, (_, (own, rows)) in zip(grid, lines, strict=True):
        for axes, row in zip(panels, rows, strict=True):
            if row is None:
                axes.set_axis_off()
            else:
                _draw_run(axes, row, own)
        first, *others = [axes for axes in panels if axes.has_data()] or [panels[0]]
        first.set_ylabel("active rows")
        for axes in others:
            axes.tick_params(labelleft=False)
    return figure


def _lines(rows: Sequence[Row]) -> Iterator[Line]:
    """For each line of panels the protocol's own run, and a run or None for each panel."""
    for own in (row for row in rows if not row.row.change):
        changed = [r for r in rows if r.row.change and r.row.protocol == own.row.protocol]
        for start in range(0, max(1, len(changed)), COLUMNS - 1):
            panels = [own if start == 0 else None, *changed[start : start + COLUMNS - 1]]
            yield own, panels + [None] * (COLUMNS - len(panels))


def _draw_run(axes: Axes, row: Row, own: Row) -> None:
    axes.set_title(quoted(row.row.protocol) if row is own else row.words)
    found, beside = _widths(row), _widths(own)
    if not len(found):
        leave_empty(axes, "all seeds diverged" if len(row.numbers) else NOT_RUN)
        return
    layers = np.arange(1, found.shape[1] + 1)
    if row is not own and beside.shape[1:] == found.shape[1:]:
        axes.plot(layers, beside.mean(0), color="0.6", linewidth=1.6)
    for widths in found:
        look: dict[str, Any] = {"color": COLOURS[row.row.protocol], "linewidth": 0.7}
        axes.plot(layers, widths, marker=".", markersize=3.5, **look)
    axes.text(0.03, 1, _in_words(row, len(found)), transform=axes.transAxes, va="top", fontsize=7)
    axes.set(ylim=(0, 1.35 * PIXELS), yticks=range(0, PIXELS + 1, 196), xticks=layers)
    axes.set(xlabel="layer")
    axes.grid(axis="y")


def _in_words(row: Row, seeds: int) -> str:
    words, diverged = counted(seeds, "seed"), len(row.numbers) - seeds
    if diverged:
        words += f" + {diverged} diverged"
    skips = row.of("skips_on")
    if skips is not None:
        words += (
            f"\n{skips.mean:.0f} skips on" if seeds == 1 else f"\n{skips.mean:.1f} skips on, mean"
        )
    return words


def _widths(row: Row) -> Array:
    """Active rows [converged seeds, L]."""
    return row.numbers.filter(regex="^width_").dropna().to_numpy(float)
