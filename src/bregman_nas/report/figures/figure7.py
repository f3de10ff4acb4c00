"""Figure 7, beyond the article: the widths of runs in which something is changed."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bregman_nas.report.changes import Group, Row, groups
from bregman_nas.report.data import PIXELS, Array, Study
from bregman_nas.report.figures.panels import rows_axis
from bregman_nas.report.figures.style import COLOURS, FULL_WIDTH, empty_figure, leave_empty
from bregman_nas.report.text import NOT_RUN, counted, quoted

COLUMNS = 4
LINE_HEIGHT, PAGE = 1.5, 9.4  # inches


def draw(study: Study) -> Figure:
    """A panel for each run: the widths of each seed, and of the protocol's own run in grey.

    On the left the protocol's own run, on its right the runs in which something is changed. In each
    panel stands how many skips are on, mean over the seeds.
    """
    lines = [line for group in groups(study) for line in _lines(group)]
    if not lines:
        return empty_figure(f"runs in which something is changed: {NOT_RUN}")
    height = min(LINE_HEIGHT * len(lines), PAGE) + 0.3
    figure = Figure(figsize=(FULL_WIDTH, height))
    grid = figure.subplots(len(lines), COLUMNS, squeeze=False)
    figure.suptitle("Grey: the protocol's own run, mean over the same seeds")
    figure.supxlabel("layer", fontsize=7.5)
    for panels, (group, own, rows) in zip(grid, lines, strict=True):
        for axes in panels[len(rows) :]:
            axes.set_axis_off()
        for axes, row in zip(panels, rows, strict=False):
            if row is None:
                axes.set_axis_off()
                continue
            title = f"{group.experiment}, epoch {group.epoch},\n{quoted(own.row.protocol)}"
            axes.set_title(title if row is own else row.words.replace(", ", ",\n"), fontsize=7)
            _draw_run(axes, row, own)
        first, *others = [axes for axes in panels if axes.has_data()] or [panels[0]]
        first.set_ylabel("active rows")
        for axes in others:
            axes.tick_params(labelleft=False)
    return figure


def _lines(group: Group) -> Iterator[tuple[Group, Row, list[Row | None]]]:
    """For each line of panels the protocol's own run, and what its panels show."""
    for own in (row for row in group.rows if not row.row.change):
        changed = [r for r in group.rows if r.row.change and r.row.protocol == own.row.protocol]
        for start in range(0, max(1, len(changed)), COLUMNS - 1):
            yield group, own, [own if start == 0 else None, *changed[start : start + COLUMNS - 1]]


def _draw_run(axes: Axes, row: Row, own: Row) -> None:
    found, beside = _widths(row), _widths(own)
    if not len(found):
        leave_empty(axes, "all seeds diverged" if len(row.numbers) else NOT_RUN)
        return
    layers = np.arange(1, found.shape[1] + 1)
    if row is not own and beside.shape[1:] == found.shape[1:]:
        axes.plot(layers, beside.mean(0), color="0.6", linewidth=2)
    look: dict[str, Any] = {"color": COLOURS[row.row.protocol], "linewidth": 0.7}
    for widths in found:
        axes.plot(layers, widths, marker=".", markersize=3.5, **look)
    words, diverged, skips = (
        counted(len(found), "seed"),
        len(row.numbers) - len(found),
        row.of("skips_on"),
    )
    words += f" + {diverged} diverged" if diverged else ""
    words += "" if skips is None else f", {skips.mean:.1f} skips on"
    axes.text(0.03, 1, words, transform=axes.transAxes, va="top", fontsize=7)
    rows_axis(axes)
    axes.set(ylim=(0, 1.3 * PIXELS), xticks=layers)


def _widths(row: Row) -> Array:
    """Active rows [converged seeds, L]."""
    return row.numbers.filter(regex="^width_").dropna().to_numpy(float)
